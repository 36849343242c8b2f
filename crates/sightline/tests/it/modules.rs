//! No two modules of a crate import each other across folders.
//!
//! The test compares modules with the same parent, where at least one of them has a folder, each
//! with everything in its folder. Two files of one folder may import each other; a folder and its
//! neighbour may not. Imports are followed through `pub use`, so a re-export in a parent does not
//! hide a cycle. A parent may import its children, and they may use what it defines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{File, ItemMod, ItemUse, UseTree, Visibility};

/// The path of a module or of an item in it, from the root of the crate.
type Names = Vec<String>;

/// The modules of a crate by their paths.
struct Modules(BTreeMap<Names, Imports>);

/// What one module imports.
#[derive(Default)]
struct Imports {
    /// Every path that is used.
    used: Vec<Names>,
    /// `pub use`: the name with the path behind it.
    exported: BTreeMap<String, Names>,
}

impl Modules {
    fn of(sources: &[(Names, String)]) -> Self {
        let parsed = sources.iter().map(|(module, text)| {
            let file: File = syn::parse_file(text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
            let mut reader = Reader { module, sources, imports: Imports::default() };
            reader.visit_file(&file);
            (module.clone(), reader.imports)
        });
        Self(parsed.collect())
    }

    /// The module in which an item is defined.
    fn defining(&self, path: &[String]) -> Option<&Names> {
        let (module, imports) = (0..=path.len()).rev().find_map(|end| self.0.get_key_value(&path[..end]))?;
        let Some(behind) = path.get(module.len()).and_then(|name| imports.exported.get(name)) else {
            return Some(module);
        };
        let rest = &path[module.len() + 1..];
        let target: Names = behind.iter().chain(rest).cloned().collect();
        if target.starts_with(&path[..=module.len()]) { Some(module) } else { self.defining(&target) }
    }

    /// Pairs of neighbours, at least one with a folder, that import each other.
    fn cycles(&self) -> BTreeSet<(String, String)> {
        let imports = self.0.iter().flat_map(|(module, imports)| imports.used.iter().map(move |path| (module, path)));
        let neighbours: BTreeSet<(Names, Names)> = imports
            .filter_map(|(module, path)| {
                let used = self.defining(path)?;
                let common = module.iter().zip(used).take_while(|(one, other)| one == other).count();
                Some((module.get(..=common)?.to_vec(), used.get(..=common)?.to_vec()))
            })
            .collect();
        let has_folder =
            |module: &Names| self.0.keys().any(|other| other.len() > module.len() && other.starts_with(module));
        let cycle = |(one, other): &&(Names, Names)| {
            one < other && (has_folder(one) || has_folder(other)) && neighbours.contains(&(other.clone(), one.clone()))
        };
        neighbours.iter().filter(cycle).map(|(one, other)| (one.join("::"), other.join("::"))).collect()
    }
}

/// Reads the imports of a module, without its tests.
struct Reader<'a> {
    module: &'a Names,
    sources: &'a [(Names, String)],
    imports: Imports,
}

impl Reader<'_> {
    /// A path from the root of the crate; none for one of another crate.
    fn absolute(&self, path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        let (start, rest): (&[String], &[String]) = match first.as_str() {
            "crate" => (&[], rest),
            "self" => (self.module, rest),
            "super" => {
                let levels = path.iter().take_while(|name| *name == "super").count();
                (self.module.get(..self.module.len().checked_sub(levels)?)?, &path[levels..])
            }
            _ if self.is_child(first) => (self.module, path),
            _ => return None,
        };
        Some(start.iter().chain(rest).cloned().collect())
    }

    fn is_child(&self, name: &String) -> bool {
        let child: Names = self.module.iter().chain([name]).cloned().collect();
        self.sources.iter().any(|(module, _)| *module == child)
    }

    fn leaves(&mut self, tree: &UseTree, mut path: Names, exports: bool) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.leaves(&part.tree, path, exports);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.leaves(tree, path.clone(), exports);
                }
            }
            UseTree::Glob(_) => self.import(&path, None),
            UseTree::Name(name) if name.ident == "self" => self.import(&path, None),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.import(&path, exports.then(|| name.ident.to_string()));
            }
            UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                self.import(&path, exports.then(|| name.rename.to_string()));
            }
        }
    }

    fn import(&mut self, path: &[String], exported_as: Option<String>) {
        let Some(path) = self.absolute(path) else { return };
        match exported_as {
            Some(name) => drop(self.imports.exported.insert(name, path)),
            None => self.imports.used.push(path),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let is_tests = module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !is_tests {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.leaves(&item.tree, Names::new(), !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.first().is_some_and(|first| ["crate", "super"].contains(&first.as_str())) {
            self.import(&names, None);
        }
        visit::visit_path(self, path);
    }
}

/// The modules below a `src` folder with their texts, without files of tests.
fn sources(src: &Path) -> Vec<(Names, String)> {
    let root = if src.join("lib.rs").exists() { "lib" } else { "main" };
    let mut found = Vec::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(module) = module_of(&path, src, root) {
                found.push((module, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn module_of(path: &Path, src: &Path, root: &str) -> Option<Names> {
    let names = path.strip_prefix(src).ok()?.with_extension("");
    let mut names: Names = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let is_tests = names.last()? == "tests";
    if path.extension()? != "rs" || is_tests || names == ["main"] && root == "lib" {
        return None;
    }
    if names == [root] || names.last()? == "mod" {
        names.pop();
    }
    Some(names)
}

/// The `src` folders of the workspace.
fn crates() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = [top.clone(), top.join("crates")].map(|folder| std::fs::read_dir(folder).unwrap());
    let crates = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let crates: Vec<PathBuf> =
        crates.filter(|path| path.join("Cargo.toml").exists()).map(|path| path.join("src")).collect();
    assert!(crates.len() >= 11, "{crates:?}");
    crates.into_iter().filter(|src| src.exists()).collect()
}

#[test]
fn no_modules_import_each_other_across_folders() {
    let cycles: Vec<_> = crates()
        .into_iter()
        .map(|src| (Modules::of(&sources(&src)).cycles(), src))
        .filter(|(cycles, _)| !cycles.is_empty())
        .collect();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn a_cycle_is_found_through_a_re_export() {
    let module = |name: &str, text: &str| {
        (name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect(), text.to_owned())
    };
    let upload = module("upload", "use crate::http::ApiError;");
    let rest = |error: &str| {
        [
            module("", "mod http; mod upload;"),
            module("http", "mod error; mod image; pub use error::ApiError;"),
            module("http::image", "fn take() -> crate::http::ApiError { todo!() }"),
            module("http::error", error),
        ]
    };
    let sources = |error| rest(error).into_iter().chain([upload.clone()]).collect::<Vec<_>>();
    assert!(Modules::of(&sources("pub struct ApiError;")).cycles().is_empty());
    let cycle = [("http".to_owned(), "upload".to_owned())];
    assert_eq!(Modules::of(&sources("use crate::upload::{Bounds, InFlight};")).cycles(), cycle.into());
}
