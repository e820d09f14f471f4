//! Pages are read as they are written.

use super::*;

const PAGE: &str = "\
# Title
<!-- tutorial
after: README.md
packages: curl python3
-->
Words.
<!-- sh target
echo hidden
-->

```sh server stays
rpserver
```

which says

```text
not an output
```

```sh client
curl a \\
  b
```

```text
one
two ...
```

```toml
shown = 'only'
```
";

#[test]
fn a_page_is_its_blocks_with_their_hosts_and_outputs() {
    let page = Page::parse(PAGE).unwrap();
    assert!(Page::is_tutorial(PAGE));
    assert_eq!(page.after.as_deref(), Some("README.md"));
    assert_eq!(page.packages, ["curl", "python3"]);
    let [hidden, stays, last] = &page.blocks[..] else {
        panic!("{page:?}");
    };
    assert!(hidden.is_hidden && hidden.host == HostName::Target);
    assert_eq!((hidden.line, &*hidden.script), (8, "echo hidden\n"));
    assert!(stays.stays && !stays.is_hidden && stays.expected.is_empty());
    assert_eq!(last.script, "curl a \\\n  b\n");
    assert_eq!(last.expected, ["one", "two ..."]);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_line() {
    for (text, told) in [
        ("\n```sh moon\n```\n", "line 2: there is no host `moon`"),
        ("```sh client goes\n```\n", "line 1: `goes` is not `stays`"),
        ("```sh client\nls\n", "line 1: the block does not end"),
        ("<!-- tutorial\nbefore: x\n-->\n", "line 1: `before: x`"),
    ] {
        let error = format!("{:#}", Page::parse(text).unwrap_err());
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn blocks_without_a_host_and_comments_of_one_line_are_not_run() {
    let text = "<!-- sh client -->\n```sh\nls\n```\n```text\nls\n```\n";
    assert_eq!(Page::parse(text).unwrap(), Page::default());
    assert!(!Page::is_tutorial(text));
}
