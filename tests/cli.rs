//! The command line as a user sees it: output and exit codes, recorded in
//! `tests/cmd` (`TRYCMD=overwrite cargo test --test cli` records them anew).

#[test]
fn recorded_sessions() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.trycmd");
}
