//! The public interface as one page of text, so that no change of it goes unseen: what can be named from outside, with
//! its signature, but for what is hidden from the documentation. `cargo insta review` accepts a change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, ItemImpl, ItemMod, TraitItem, UseTree, Visibility};

/// The lines of one crate.
#[derive(Default)]
struct Listing(Vec<String>);

impl Listing {
    /// Everything public in the file of the module called `name`; `nested` is where its submodules' files are.
    fn file(&mut self, name: &str, file: &Path, nested: &Path) {
        let text = fs::read_to_string(file).expect("a module has a file");
        let items = syn::parse_file(&text).expect("it compiles").items;
        self.items(name, &items, nested);
    }

    fn items(&mut self, path: &str, items: &[Item], nested: &Path) {
        for item in items {
            match item {
                Item::Mod(module) => self.module(path, module, nested),
                Item::Impl(block) => self.implementation(path, block),
                Item::Fn(function) if is_public(&function.vis, &function.attrs) => {
                    self.add("fn", path, &function.sig);
                }
                Item::Const(item) if is_public(&item.vis, &item.attrs) => {
                    let (name, kind) = (&item.ident, tidy(&item.ty));
                    self.0.push(format!("const {path}::{name}: {kind}"));
                }
                Item::Type(item) if is_public(&item.vis, &item.attrs) => {
                    let (name, kind) = (&item.ident, tidy(&item.ty));
                    self.0.push(format!("type {path}::{name} = {kind}"));
                }
                Item::Struct(item) if is_public(&item.vis, &item.attrs) => {
                    self.0.push(format!("struct {path}::{}", item.ident));
                    for field in item.fields.iter().filter(|field| is_pub(&field.vis)) {
                        let kind = tidy(&field.ty);
                        let name = field.ident.as_ref().map_or_else(|| "0".to_owned(), tidy);
                        self.0
                            .push(format!("field {path}::{}::{name}: {kind}", item.ident));
                    }
                }
                Item::Enum(item) if is_public(&item.vis, &item.attrs) => {
                    self.0.push(format!("enum {path}::{}", item.ident));
                    for variant in &item.variants {
                        let (name, fields) = (&variant.ident, tidy(&variant.fields));
                        let line = format!("variant {path}::{}::{name}{fields}", item.ident);
                        self.0.push(line);
                    }
                }
                Item::Trait(item) if is_public(&item.vis, &item.attrs) => {
                    let owner = format!("{path}::{}", item.ident);
                    self.0.push(format!("trait {owner}"));
                    for part in &item.items {
                        if let TraitItem::Fn(function) = part {
                            self.add("fn", &owner, &function.sig);
                        }
                    }
                }
                Item::Use(item) if is_public(&item.vis, &item.attrs) => {
                    self.exports(path, "", &item.tree);
                }
                _ => {}
            }
        }
    }

    fn module(&mut self, path: &str, module: &ItemMod, nested: &Path) {
        if !is_public(&module.vis, &module.attrs) {
            // What it implements for public types is public all the same, but has no page of its own.
            return;
        }
        let name = module.ident.to_string();
        let (path, folder) = (format!("{path}::{name}"), nested.join(&name));
        self.0.push(format!("mod {path}"));
        match &module.content {
            Some((_, items)) => self.items(&path, items, &folder),
            None => {
                let beside = nested.join(format!("{name}.rs"));
                let file = [beside, folder.join("mod.rs")];
                let file = file.iter().find(|file| file.exists());
                self.file(&path, file.expect("a module has a file"), &folder);
            }
        }
    }

    fn implementation(&mut self, path: &str, block: &ItemImpl) {
        let owner = format!("{path}::{}", tidy(&block.self_ty));
        if let Some((_, of, _)) = &block.trait_ {
            self.0.push(format!("impl {} for {owner}", tidy(of)));
            return;
        }
        for part in &block.items {
            match part {
                ImplItem::Fn(function) if is_public(&function.vis, &function.attrs) => {
                    self.add("fn", &owner, &function.sig);
                }
                ImplItem::Const(item) if is_public(&item.vis, &item.attrs) => {
                    let (name, kind) = (&item.ident, tidy(&item.ty));
                    self.0.push(format!("const {owner}::{name}: {kind}"));
                }
                _ => {}
            }
        }
    }

    fn exports(&mut self, path: &str, from: &str, tree: &UseTree) {
        match tree {
            UseTree::Path(part) => {
                self.exports(path, &format!("{from}{}::", part.ident), &part.tree);
            }
            UseTree::Group(group) => {
                for part in &group.items {
                    self.exports(path, from, part);
                }
            }
            leaf => self.0.push(format!("use {path}: {from}{}", tidy(leaf))),
        }
    }

    fn add(&mut self, kind: &str, owner: &str, signature: &syn::Signature) {
        let (name, text) = (signature.ident.to_string(), tidy(signature));
        let (before, after) = text.split_once(&name).expect("its name is in it");
        let before = before.trim_end_matches("fn ").trim();
        let space = if before.is_empty() { "" } else { " " };
        self.0
            .push(format!("{before}{space}{kind} {owner}::{name}{after}"));
    }
}

fn is_pub(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether it can be named from outside, and is meant to be.
fn is_public(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    let is_hidden = attributes.iter().any(|attribute| {
        let text = tidy(attribute).replace(' ', "");
        text == "#[doc(hidden)]" || text == "#[cfg(test)]"
    });
    is_pub(visibility) && !is_hidden
}

/// Source text without the blanks that a token stream has around everything.
fn tidy(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" :", ":"),
        ("& ", "&"),
        (" ;", ";"),
        ("->", "-> "),
        ("->  ", "-> "),
        ("[ ", "["),
        (" ]", "]"),
        (" ?", "?"),
    ] {
        text = text.replace(from, to);
    }
    text.replace("-> (", " -> (")
        .replace(")->", ") ->")
        .replace("  ", " ")
}

#[test]
fn the_public_interface_is_as_recorded() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut listing = Listing::default();
    listing.file("rp_protocol", &source.join("lib.rs"), &source);
    listing.0.sort();
    listing.0.dedup();
    insta::assert_snapshot!(listing.0.join("\n"));
}
