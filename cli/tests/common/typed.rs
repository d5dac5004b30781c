//! Projects of rooms in TypeScript, with the packages of `tests/`. Owns what is in them beside the rooms.
//!
//! Invariant: their types are checked as in a project that `room new` made. It does not know what the rooms do.

use super::node;
use super::project::{Project, repo};

/// A copy of a project of this repository, ready to be bundled.
pub(crate) fn copy(project: &str, name: &str) -> Project {
    let copied = Project::copy(project, name);
    let sdk = repo().join("sdk/js").display().to_string();
    copied.write("tsconfig.json", &TYPES.replace("{sdk}", &sdk));
    node::install();
    let packages = repo().join("tests/node_modules");
    std::os::unix::fs::symlink(packages, copied.root().join("node_modules"))
        .expect("the project has no packages of its own");
    copied
}

const TYPES: &str = r#"{
  "compilerOptions": {
    "target": "ES2023",
    "lib": ["ES2023"],
    "types": [],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "paths": { "roomkit/*": ["{sdk}/*"] },
    "strict": true,
    "noUncheckedIndexedAccess": true,
    "isolatedModules": true,
    "skipLibCheck": true,
    "noEmit": true
  },
  "include": ["src", "{sdk}/globals.d.ts", "{sdk}/compat.d.ts"]
}
"#;
