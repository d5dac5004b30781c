//! The `room.toml` of an imported project. Owns its text.
//!
//! Invariant: values are written by the TOML library, so that no value breaks out of its key. It does not know which
//! files are there.

use super::scripts::{ImportedScript, Scripts};
use crate::import::{Import, ImportedAssets};
use room_runtime::CronSetting;
use toml::{Table, Value};

/// Where rooms may fetch from, as a comment.
const FETCH: &str = "\n# The servers that rooms may fetch from; without any, none.\n# [fetch]\n# hosts = [\"api.example.com\"]\n";

/// Returns the text. The folder of the static files is a comment in it if it is absent.
pub(super) fn of(
    import: &Import,
    scripts: &Scripts,
    absent: Option<&ImportedAssets>,
) -> Result<String, toml::ser::Error> {
    let mut all = Table::new();
    all.insert("name".to_owned(), import.name.clone().unwrap_or_default().into());
    let parties = import.parties.iter().map(|party| {
        let name = party.name.to_string();
        let table = match scripts.get(&party.name) {
            Some(script) => of_script(script),
            None => Table::from_iter([("path".to_owned(), format!("rooms/{name}").into())]),
        };
        (name, table.into())
    });
    all.insert("parties".to_owned(), parties.collect::<Table>().into());
    if let Some(assets) = &import.assets {
        all.insert("assets".to_owned(), of_assets(assets).into());
    }
    if !import.vars.is_empty() {
        let vars = import.vars.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        all.insert("vars".to_owned(), vars.collect::<Table>().into());
    }
    if !import.crons.is_empty() {
        let crons = import.crons.iter().map(|cron| (cron.name.clone(), of_cron(cron)));
        all.insert("crons".to_owned(), crons.collect::<Table>().into());
    }
    let mut text = toml::to_string(&all)?;
    if let Some(assets) = absent {
        let keys = toml::to_string(&of_assets(assets))?;
        let lines: String = keys.lines().map(|line| format!("# {line}\n")).collect();
        text.push_str(&format!("\n# The folder was not there yet.\n# [assets]\n{lines}"));
    }
    if !scripts.is_empty() {
        text.push_str(FETCH);
    }
    Ok(text)
}

fn of_script(script: &ImportedScript) -> Table {
    let mut table = Table::new();
    table.insert("script".to_owned(), script.file.clone().into());
    if let Some(export) = &script.export {
        table.insert("export".to_owned(), export.clone().into());
    }
    if script.traits.hibernates == Some(true) {
        table.insert("hibernate".to_owned(), true.into());
    }
    table
}

fn of_assets(assets: &ImportedAssets) -> Table {
    let mut table = Table::new();
    table.insert("dir".to_owned(), assets.dir.clone().into());
    match &assets.scripts[..] {
        [] => {}
        [script] => drop(table.insert("build".to_owned(), script.clone().into())),
        scripts => drop(table.insert("build".to_owned(), scripts.to_vec().into())),
    }
    if assets.is_single_page {
        table.insert("single_page".to_owned(), true.into());
    }
    table
}

/// A schedule alone stands for a cron of the party `main`.
fn of_cron(cron: &CronSetting) -> Value {
    if cron.party == CronSetting::PARTY {
        return cron.schedule.clone().into();
    }
    let schedule = ("schedule".to_owned(), cron.schedule.clone().into());
    let party = ("party".to_owned(), cron.party.clone().into());
    Table::from_iter([schedule, party]).into()
}
