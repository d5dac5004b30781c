//! `room webhooks`. Owns the layout of the list.
//!
//! Invariant: the text for people has one webhook a line. It does not know when a webhook is sent.

use crate::args::operate::{WebhookChoiceArgs, WebhooksArgs, WebhooksCommand};
use crate::operator::{Operator, ago, encoded};
use crate::print::counted;
use serde_json::Value;
use std::process::ExitCode;

/// Lists the webhooks, or changes some.
pub(crate) fn run(args: &WebhooksArgs) -> anyhow::Result<ExitCode> {
    match &args.what {
        Some(WebhooksCommand::Retry(args)) => change(args, "retry", "sent again")?,
        Some(WebhooksCommand::Discard(args)) => change(args, "discard", "discarded")?,
        None => {
            let operator = Operator::find(&args.server)?;
            let answer = operator.ask("GET", "webhooks", &[])?;
            operator.print(&answer, table)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(args: &WebhookChoiceArgs, verb: &str, what: &str) -> anyhow::Result<()> {
    let operator = Operator::find(&args.server)?;
    let path = match &args.id {
        Some(id) => format!("webhooks/{verb}?id={}", encoded(id.as_bytes())),
        None => format!("webhooks/{verb}"),
    };
    let answer = operator.ask("POST", &path, &[])?;
    operator.print(&answer, |answer| format!("{} {what}", counted(&answer["changed"], "webhook")))
}

/// Returns the webhooks, one a line, below the receiver and a heading.
fn table(answer: &Value) -> String {
    let url = answer["url"].as_str().unwrap_or("the project has no [webhooks]");
    let first = format!("{url}: {} wait, {} dead", answer["waiting"], answer["dead"]);
    let shown = ["next", "letters"].map(|part| answer[part].as_array().into_iter().flatten());
    let rows: Vec<[String; 5]> = shown.into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return first;
    }
    let head = ["WEBHOOK", "EVENT", "TRIES", "NEXT", "LAST ERROR"].map(str::to_owned);
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |[id, event, tries, next, error]: &[String; 5]| {
        let [a, b, c, d] = widths;
        format!("{id:a$}  {event:b$}  {tries:c$}  {next:d$}  {error}").trim_end().to_owned()
    };
    let lines = lines.iter().map(line);
    std::iter::once(first).chain(lines).collect::<Vec<_>>().join("\n")
}

fn row(webhook: &Value) -> [String; 5] {
    let text = |name: &str| webhook[name].as_str().unwrap_or_default().to_owned();
    let next = match webhook["dead_ms"].as_u64() {
        Some(_) => "never: dead".to_owned(),
        None => webhook["next_ms"].as_u64().map(ago).unwrap_or_default(),
    };
    [text("id"), text("event"), webhook["tries"].to_string(), next, text("error")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_webhook_is_a_line_below_its_receiver() {
        let answer = json!({"url": "https://example.com/hooks", "waiting": 1, "dead": 1, "next": [
            {"id": "msg_chat.main.lobby.1-2-1", "event": "connected", "tries": 0, "next_ms": null, "dead_ms": null,
             "error": null},
        ], "letters": [
            {"id": "msg_chat.main.x.1-3-4", "event": "expired", "tries": 10, "next_ms": null, "dead_ms": 5,
             "error": "the receiver answered 500"},
        ]});
        expect_test::expect![[r#"
            https://example.com/hooks: 1 wait, 1 dead
            WEBHOOK                    EVENT      TRIES  NEXT         LAST ERROR
            msg_chat.main.lobby.1-2-1  connected  0
            msg_chat.main.x.1-3-4      expired    10     never: dead  the receiver answered 500
        "#]]
        .assert_eq(&format!("{}\n", table(&answer)));
        let none = json!({"url": null, "waiting": 0, "dead": 0, "next": [], "letters": []});
        assert_eq!(table(&none), "the project has no [webhooks]: 0 wait, 0 dead");
    }
}
