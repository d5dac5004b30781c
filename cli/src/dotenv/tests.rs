use super::*;
use room_test_inputs::Inputs;

fn parsed(text: &str) -> Vec<(String, String)> {
    match parse(".env", text) {
        Ok(vars) => vars.into_iter().collect(),
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

fn refused(text: &str) -> Vec<String> {
    match parse(".env", text) {
        Ok(vars) => panic!("{vars:?}"),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_form_of_a_line_is_read() {
    let cases = [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("export A=b", "b"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=b # a comment", "b"),
        ("A=b#c", "b#c"),
        ("A=#b", ""),
        ("A=b=c", "b=c"),
        ("A=it's", "it's"),
        ("A=$HOME", "$HOME"),
        ("A='b # c' # d", "b # c"),
        ("A='b\\n'", "b\\n"),
        ("A=`b'\"c`", "b'\"c"),
        ("A=\"b\\n\\t\\\"\\\\\\$c\"", "b\n\t\"\\$c"),
        ("A=\"b\r\nc\"\r\n", "b\nc"),
        ("A='b\nc=d\n'", "b\nc=d\n"),
        ("\u{feff}A=b\r\n", "b"),
        ("A=é", "é"),
    ];
    for (text, value) in cases {
        assert_eq!(parsed(text), [("A".to_owned(), value.to_owned())], "{text:?}");
    }
    assert_eq!(parsed("# a\n\n  \n").len(), 0);
    assert_eq!(parsed("a.b-c_1=x\nB='\n'\nC=y").len(), 3);
}

#[test]
fn mistakes_have_lines_and_hide_values() {
    let text =
        "A=1\nsecret\n1A=secret\nB=\"secret\\q\"\nC='x'secret\nA=secret\nE=\"\nsecret\nA=x\n";
    assert_eq!(
        refused(text),
        [
            ".env:2: this line has no `=`",
            ".env:3: the text before `=` is not a name",
            ".env:4: the value of B has a `\\` that means nothing",
            ".env:5: something follows the value of C",
            ".env:6: A is listed twice, first on line 1",
            ".env:7: the value of E has no closing \"",
        ]
    );
    assert_eq!(refused("A=\0"), [".env:1: the value of A has a NUL in it"]);
}

#[test]
fn the_local_file_wins_and_a_folder_is_not_a_dotenv_file() {
    let dir = tempfile::tempdir().unwrap();
    let read = || DotEnv::read(dir.path());
    assert!(read().unwrap().vars().is_empty());
    std::fs::write(dir.path().join(".env"), "A=1\nB=1").unwrap();
    std::fs::create_dir(dir.path().join(".env.local")).unwrap();
    assert_eq!(read().unwrap().files(), [".env"]);
    std::fs::remove_dir(dir.path().join(".env.local")).unwrap();
    std::fs::write(dir.path().join(".env.local"), "B=2").unwrap();
    let both = read().unwrap();
    assert_eq!(both.files(), FILES);
    assert_eq!((both.vars()["A"].as_str(), both.vars()["B"].as_str()), ("1", "2"));
}

#[test]
fn a_file_with_any_mistake_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".env");
    for (bytes, why) in [
        (vec![b'#'; 256 * 1024 + 1], "is longer than 262144 bytes"),
        (vec![b'A', b'=', 0xff], "is not UTF-8"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let refused = DotEnv::read(dir.path()).err().unwrap().to_string();
        assert!(refused.ends_with(why), "{refused}");
    }
}

/// Returns a file that gives variables these values.
fn written(vars: &BTreeMap<String, String>) -> String {
    let escaped = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '"' | '\\' | '$' => format!("\\{c}"),
        c => c.to_string(),
    };
    let line = |(name, value): (&String, &String)| {
        format!("{name}=\"{}\"\n", value.chars().map(escaped).collect::<String>())
    };
    vars.iter().map(line).collect()
}

#[test]
fn any_text_yields_variables_or_mistakes_that_hide_values() {
    let words = ["A=", "é", "\"", "'", "`", "\\n", "\n", "\r\n", " #", "export ", "$"];
    Inputs::of("env-file", &words).each(|input| {
        let text = String::from_utf8_lossy(input);
        match parse(".env", &text) {
            Ok(vars) => assert_eq!(parse(".env", &written(&vars)).unwrap(), vars),
            Err(mistakes) => {
                let lines = text.lines().count();
                for mistake in mistakes {
                    let said = mistake.to_string();
                    let line: usize = said.split(':').nth(1).unwrap().parse().unwrap();
                    assert!((1..=lines).contains(&line), "{said}");
                    assert!(!said.contains('é'), "{said}");
                }
            }
        }
    });
}
