//! Debian's Chromium without a window, driven over the pipe of its developer tools
//! protocol (`--remote-debugging-pipe`: JSON objects with a NUL after each). It
//! goes when it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Its files, which must not go before it does.
    _home: tempfile::TempDir,
    session: Option<String>,
    number: u64,
    /// What it told of its own accord, in order.
    events: Vec<Value>,
}

impl Browser {
    /// Whether there is one on this host.
    pub(crate) fn there_is_one() -> bool {
        let asked = Command::new("chromium").arg("--version").output();
        asked.is_ok_and(|asked| asked.status.success())
    }

    /// A browser with one empty page.
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        // It reads commands from descriptor 3 and answers on 4. `timeout` sees
        // that one that hangs does not hang its test.
        let script = "exec timeout -k 5 300 chromium --headless --no-sandbox --disable-gpu \
             --disable-dev-shm-usage --no-first-run --disable-background-networking \
             --host-resolver-rules='MAP * ~NOTFOUND' --remote-debugging-pipe \
             --user-data-dir=\"$1\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            to,
            from,
            _home: home,
            session: None,
            number: 0,
            events: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method and returns its result.
    #[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let message = self.read();
            if message["id"] == self.number {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser ended");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Shows a file, and waits until it is loaded.
    pub(crate) fn show(&mut self, path: &Path) {
        let loaded = |events: &[Value]| {
            let mut events = events.iter();
            events.any(|event| event["method"] == "Page.loadEventFired")
        };
        self.events.clear();
        self.call(
            "Page.navigate",
            json!({ "url": format!("file://{}", path.display()) }),
        );
        while !loaded(&self.events) {
            let event = self.read();
            self.events.push(event);
        }
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression,
            "returnByValue": true,
            "awaitPromise": true,
        });
        let result = self.call("Runtime.evaluate", parameters);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Presses and releases a key; `text` is what it types, if anything.
    pub(crate) fn press(&mut self, key: &str, text: Option<&str>) {
        // A key that types needs its code, too.
        let code = match key {
            "Enter" => 13,
            _ => 0,
        };
        let mut parameters = json!({ "type": "keyDown", "key": key });
        if code != 0 {
            parameters["windowsVirtualKeyCode"] = json!(code);
        }
        if let Some(text) = text {
            parameters["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", parameters.clone());
        parameters["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", parameters);
    }

    /// What the page complained about since it was shown: exceptions, errors and
    /// warnings on its console, violations of its policy.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complaint = |event: &&Value| {
            matches!(
                event["method"].as_str(),
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded")
            )
        };
        self.events
            .iter()
            .filter(complaint)
            .map(Value::to_string)
            .collect()
    }

    /// Every address that the page asked for since it was shown.
    pub(crate) fn requests(&self) -> Vec<String> {
        let sent = |event: &&Value| event["method"] == "Network.requestWillBeSent";
        let address = |event: &Value| {
            event["params"]["request"]["url"]
                .as_str()
                .map(str::to_owned)
        };
        self.events
            .iter()
            .filter(sent)
            .filter_map(address)
            .collect()
    }

    /// The width of the screen in pixels, and its colours: `light` or `dark`.
    pub(crate) fn screen(&mut self, width: u32, colours: &str) {
        let size = json!({
            "width": width,
            "height": 900,
            "deviceScaleFactor": 1,
            "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({ "name": "prefers-color-scheme", "value": colours });
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
    }

    /// Keeps a picture of the screen, for people to look at.
    pub(crate) fn picture(&mut self, path: &Path) {
        use base64::Engine;
        let shot = self.call("Page.captureScreenshot", json!({}));
        let data = shot["data"].as_str().unwrap();
        let data = base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap();
        std::fs::write(path, data).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        let close = b"{\"id\":0,\"method\":\"Browser.close\"}\0";
        if self.to.write_all(close).is_err() {
            drop(self.child.kill());
        }
        // To its end: its home must not go before.
        drop(std::io::copy(&mut self.from, &mut std::io::sink()));
        drop(self.child.wait());
    }
}
