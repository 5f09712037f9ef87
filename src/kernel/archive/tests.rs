//! The same thread in each form of archive.

use super::*;
use crate::kernel::mail;

const DIFF: &str = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n";

/// A thread with a reply, and a mail of another.
fn mails() -> Vec<String> {
    let mail = |id: &str, parent: &str, subject: &str, body: &str| {
        let parent = match parent {
            "" => String::new(),
            parent => format!("In-Reply-To: <{parent}@example.org>\n"),
        };
        format!(
            "From: A U Thor <a@example.org>\nSubject: {subject}\n\
             Message-ID: <{id}@example.org>\n{parent}\n{body}"
        )
    };
    vec![
        mail("other", "", "[PATCH] other", DIFF),
        mail(
            "cover",
            "",
            "[PATCH 0/2] all",
            "base-commit: 0123456789abcdef\n",
        ),
        mail("one", "cover", "[PATCH 1/2] one", DIFF),
        mail("two", "cover", "[PATCH 2/2] two", DIFF),
        mail(
            "reply",
            "one",
            "Re: [PATCH 1/2] one",
            "From here on it is wrong.\n",
        ),
    ]
}

async fn titles(from: &Path, id: &str) -> Result<Vec<String>, ArchiveError> {
    let id = MessageId::parse(id).unwrap();
    let from = from.display().to_string();
    let mailbox = thread(&Context::default(), Some(&from), &id).await?;
    let posted = mail::read_series(&from, &mailbox, id.as_str()).unwrap();
    assert_eq!(posted.base_commit.as_deref(), Some("0123456789abcdef"));
    let names = posted.patches.into_iter().map(|(name, _)| name);
    Ok(names.collect())
}

/// The thread is found by each of its mails, and another id is not.
async fn check(from: &Path) {
    for id in ["cover", "one", "two", "reply"] {
        let found = titles(from, &format!("<{id}@example.org>")).await.unwrap();
        assert_eq!(found, ["0001-one.patch", "0002-two.patch"], "{id}");
    }
    let error = titles(from, "absent@example.org").await.unwrap_err();
    assert!(matches!(error, ArchiveError::Absent { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("has no mail <absent@example.org>"), "{text}");
}

#[tokio::test]
async fn a_mailbox() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("list.mbox");
    let mails = mails().into_iter().map(String::into_bytes).collect();
    std::fs::write(&path, joined(mails)).unwrap();
    check(&path).await;
}

#[tokio::test]
async fn a_maildir() {
    let home = tempfile::tempdir().unwrap();
    for directory in ["cur", "new", "tmp"] {
        std::fs::create_dir(home.path().join(directory)).unwrap();
    }
    for (number, mail) in mails().iter().enumerate() {
        let directory = home.path().join(["cur", "new"][number % 2]);
        std::fs::write(directory.join(format!("{number}.x:2,S")), mail).unwrap();
    }
    check(home.path()).await;
}

async fn git(repository: &Path, arguments: &[&str]) {
    Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
        .args(arguments)
        .directory(repository)
        .run(&Context::default().cancel)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_public_inbox_of_the_second_version_in_epochs_or_alone() {
    let home = tempfile::tempdir().unwrap();
    let work = home.path().join("work");
    std::fs::create_dir(&work).unwrap();
    git(&work, &["init", "--quiet"]).await;
    for mail in mails() {
        std::fs::write(work.join("m"), mail).unwrap();
        git(&work, &["add", "m"]).await;
        git(&work, &["commit", "--quiet", "-m", "mail"]).await;
    }
    // A mail that was taken out since.
    git(&work, &["mv", "m", "d"]).await;
    git(&work, &["commit", "--quiet", "-m", "removed"]).await;
    let epochs = home.path().join("inbox/git");
    std::fs::create_dir_all(&epochs).unwrap();
    let epoch = epochs.join("0.git").display().to_string();
    git(&work, &["clone", "--quiet", "--mirror", ".", &epoch]).await;
    for from in [
        home.path().join("inbox"),
        epochs.clone(),
        epochs.join("0.git"),
        work,
    ] {
        check(&from).await;
    }
}

#[tokio::test]
async fn a_public_inbox_of_the_first_version() {
    let home = tempfile::tempdir().unwrap();
    git(home.path(), &["init", "--quiet"]).await;
    for (number, mail) in mails().iter().enumerate() {
        let directory = home.path().join(format!("{number:02x}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("0123456789"), mail).unwrap();
    }
    git(home.path(), &["add", "."]).await;
    git(home.path(), &["commit", "--quiet", "-m", "mails"]).await;
    check(home.path()).await;
}

#[tokio::test]
async fn what_is_no_archive_is_told() {
    let home = tempfile::tempdir().unwrap();
    for (path, said) in [
        (
            home.path().to_owned(),
            "neither a maildir nor a git repository",
        ),
        (home.path().join("no-such"), "No such file"),
        ("/dev/null".into(), "neither a file nor a directory"),
    ] {
        let error = titles(&path, "a@b").await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn ids_come_in_brackets_or_as_links() {
    for word in [
        "20260102.1-a@example.org",
        " <20260102.1-a@example.org>\n",
        "https://lore.kernel.org/all/20260102.1-a@example.org/",
        "https://lore.kernel.org/r/20260102.1-a%40example.org",
        "https://patch.msgid.link/20260102.1-a@example.org/#t",
    ] {
        let id = MessageId::parse(word).unwrap();
        assert_eq!(id.as_str(), "20260102.1-a@example.org", "{word}");
    }
    for word in [
        "",
        "abc",
        "-x@y",
        "a b@c",
        "<a@b\u{1b}>",
        "https://lore.kernel.org/all/",
        "%zz@x>y",
    ] {
        assert!(MessageId::parse(word).is_err(), "{word}");
    }
}
