//! What the code of an imported party says about how it is to run. Owns the search in its text.
//!
//! Invariant: what is found is reported with the file, as a text may say something else than the code means. It does not
//! parse: it does not know JavaScript.

/// What the code of a party says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodeTraits {
    /// Whether its rooms leave memory while sockets are open; `None` if another class of the file may be meant.
    pub(super) hibernates: Option<bool>,
    /// True if it reads variables where only Node has them.
    pub(super) reads_process: bool,
}

/// Searches the text of a script. `class` is the room's, if it has a name.
pub(super) fn of(text: &str, class: Option<&str>) -> CodeTraits {
    let says = |text: &str| {
        let bare: String = text.split_whitespace().collect();
        bare.contains("hibernate:true")
    };
    let own = class.map_or(Some(text), |class| class_in(text, class));
    let hibernates = match own {
        Some(own) => Some(says(own)),
        // It may be imported from another file.
        None => Some(false).filter(|_| !says(text)),
    };
    CodeTraits { hibernates, reads_process: text.contains("process.env") }
}

/// Returns the part of a text with a class: to the next one at the start of a line, or to the next export.
fn class_in<'t>(text: &'t str, class: &str) -> Option<&'t str> {
    let head = format!("class {class}");
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || "_$".contains(c));
    let mut starts = text.match_indices(&head).map(|(at, _)| at + head.len());
    let start = starts.find(|start| !goes_on(&text[*start..]))?;
    let rest = &text[start..];
    let ends = ["\nexport ", "\nclass ", "\nabstract class "].map(|end| rest.find(end));
    let end = ends.into_iter().flatten().min().unwrap_or(rest.len());
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "import x from \"x\";\nexport class ChatLog extends Server {}\n\
        export class Chat extends Server {\n  static options = {\n    hibernate: true };\n}\n\
        class Other { options = { hibernate: false } }\nexport default { fetch() {} };\n";

    fn hibernates(text: &str, class: Option<&str>) -> Option<bool> {
        of(text, class).hibernates
    }

    #[test]
    fn a_class_hibernates_if_its_own_part_of_the_file_says_so() {
        assert_eq!(hibernates(TWO, Some("Chat")), Some(true));
        for other in ["ChatLog", "Other"] {
            assert_eq!(hibernates(TWO, Some(other)), Some(false), "{other}");
        }
        assert_eq!(hibernates(TWO, None), Some(true));
    }

    #[test]
    fn a_class_of_another_file_is_unclear_only_if_this_file_says_hibernate() {
        assert_eq!(hibernates(TWO, Some("Imported")), None);
        assert_eq!(hibernates("export { Imported } from \"./a\";", Some("Imported")), Some(false));
        assert_eq!(hibernates("", None), Some(false));
    }

    #[test]
    fn variables_of_node_are_found() {
        assert!(of("const key = process.env.KEY;", None).reads_process);
        assert!(!of("const key = this.env.KEY;", None).reads_process);
    }
}
