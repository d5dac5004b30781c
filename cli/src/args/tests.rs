mod docs;

use super::*;
use clap::CommandFactory as _;
use expect_test::expect;

#[test]
fn the_command_line_is_well_formed() {
    Args::command().debug_assert();
}

#[test]
fn every_command_has_a_manual_page() {
    for command in Args::command().get_subcommands() {
        let name = command.get_name();
        assert!(command.get_long_about().is_some(), "{name} has no long help");
        assert!(command.get_after_long_help().is_some(), "{name} has no examples");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{name} {} says nothing", arg.get_id());
        }
    }
}

#[test]
fn arguments_after_the_double_dash_go_to_cargo() {
    let args = Args::parse_from(["room", "test", "here", "--", "a", "--", "--nocapture"]);
    let Command::Test(test) = args.command else { panic!("it is a test") };
    assert_eq!(test.names, ["here"]);
    assert_eq!(test.rest, ["a", "--", "--nocapture"]);
}

#[test]
fn a_variable_needs_a_key() {
    assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
    assert_eq!(variable("A="), Ok(("A".to_owned(), String::new())));
    expect!["write it as KEY=VALUE"].assert_eq(&variable("=b").unwrap_err());
    expect!["write it as KEY=VALUE"].assert_eq(&variable("A").unwrap_err());
}
