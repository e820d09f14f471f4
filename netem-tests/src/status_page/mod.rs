//! The status pages of real programs under load, in headless Chromium: clicked through, gone through by keyboard, looked
//! at for what people with other eyes, hands or screens need, and drawn as pictures.

mod browser;
mod pair;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use self::{browser::Browser, pair::Pair};
use crate::{implementation::Kit, leftovers::make_folder};

/// Finds what is wrong with the page as it is drawn.
const LOOK: &str = include_str!("look.js");

/// How long something on the page may take that comes with its next look at the program.
const SOON: Duration = Duration::from_secs(20);

/// Between two looks at the page.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Longer than the page's own period: what stays the same so long stands still.
const STILL: Duration = Duration::from_millis(2500);

/// Screens: name, size, and whether it is a phone.
const SCREENS: [(&str, (u32, u32), bool); 2] =
    [("desktop", (1280, 900), false), ("phone", (390, 844), true)];

/// Expressions of the page.
const STATE: &str = "document.getElementById('state').textContent";
const UPTIME: &str = "document.getElementById('about').textContent";
const DOWN: &str = "document.getElementById('down-rate').textContent";
const PRESSED: &str = "document.getElementById('pause').getAttribute('aria-pressed')";

/// Goes through the pages of both programs, and draws them into `pictures`. Says each check that passed.
///
/// # Errors
/// A program cannot be started, or a check fails; it says which.
pub fn run(
    kit: &Kit,
    chromium: &Path,
    pictures: &Path,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    fs::create_dir_all(pictures)?;
    let folder = make_folder()?;
    let mut pair = Pair::start(kit, folder.path())?;
    let mut browser = Browser::start(chromium, folder.path())?;
    for (program, url) in pair.pages() {
        browser.look_like(SCREENS[0].1, false, false)?;
        browser.open(&url)?;
        shows_numbers(&mut browser, program)?;
        say(&format!(
            "{program}: state, throughput, numbers and tables are those of the load"
        ));
        stands_still_when_told(&mut browser)?;
        say(&format!(
            "{program}: Pause holds the page, by mouse and by keyboard, and lets it go on"
        ));
        // Where the last click was, Tab would go on from there.
        browser.open(&url)?;
        shows_numbers(&mut browser, program)?;
        goes_by_keyboard(&mut browser)?;
        say(&format!(
            "{program}: Tab goes through skip link, button, tables and links in their order"
        ));
        for file in draw(&mut browser, program, pictures)? {
            say(&format!(
                "{program}: contrast, names, sizes and widths are right: {}",
                file.display()
            ));
        }
    }
    pair.end_server();
    let (_, url) = pair.pages().swap_remove(1);
    browser.open(&url)?;
    until(&mut browser, STATE, |text| {
        !text.is_empty() && !text.starts_with("up")
    })?;
    say("rpclient: a server that is gone is told");
    pair.end_client();
    until(&mut browser, STATE, |text| text == "no answer")?;
    say("rpclient: a program that is gone is told");
    Ok(())
}

/// Waits until the text of `expression` is as wanted.
fn until(
    browser: &mut Browser,
    expression: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<String> {
    let began = Instant::now();
    loop {
        let value = browser.value(expression);
        let text = value.as_ref().ok().and_then(|value| value.as_str());
        if let Some(text) = text.filter(|text| is_wanted(text)) {
            return Ok(text.to_owned());
        }
        ensure!(began.elapsed() < SOON, "{expression} is still {value:?}");
        thread::sleep(LOOK_INTERVAL);
    }
}

fn shows_numbers(browser: &mut Browser, program: &str) -> anyhow::Result<()> {
    let is_good = |text: &str| ["up", "serving"].contains(&text);
    until(browser, STATE, is_good)?;
    until(browser, DOWN, |text| text.contains("Mbit/s"))?;
    until(browser, "document.title", |title| {
        title.starts_with(program)
    })?;
    // The load is one download at a time of one target, by one key; the client does not list targets.
    let rows = match program {
        "rpserver" => ["#targets", "127.0.0.1:"],
        _ => ["#connections", "SHA256:"],
    };
    let first = format!("document.querySelector('{} tbody th').textContent", rows[0]);
    until(browser, &first, |text| text.starts_with(rows[1]))?;
    let is_drawn = "String(document.querySelectorAll('#chart path').length)";
    until(browser, is_drawn, |count| count == "2")?;
    Ok(())
}

fn stands_still_when_told(browser: &mut Browser) -> anyhow::Result<()> {
    browser.click("#pause")?;
    until(browser, PRESSED, |pressed| pressed == "true")?;
    let held = browser.value(UPTIME)?;
    thread::sleep(STILL);
    ensure!(browser.value(UPTIME)? == held, "a page on hold changes");
    browser.value("document.getElementById('pause').focus()")?;
    browser.press("Enter")?;
    until(browser, PRESSED, |pressed| pressed == "false")?;
    let held = held.as_str().unwrap_or_default().to_owned();
    until(browser, UPTIME, |text| text != held)?;
    Ok(())
}

fn goes_by_keyboard(browser: &mut Browser) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    let focused = "(() => { const at = document.activeElement;
        return at.id || at.getAttribute('aria-labelledby') || at.getAttribute('href') || at.tagName; })()";
    for _ in 0..20 {
        browser.press("Tab")?;
        let at = browser.value(focused)?;
        let at = at
            .as_str()
            .context("the focused element has no name")?
            .to_owned();
        if seen.first() == Some(&at) || at == "BODY" {
            break;
        }
        let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle")?;
        ensure!(
            outline != "none",
            "{at} does not show that it has the focus"
        );
        seen.push(at);
    }
    let wanted = [
        "#main",
        "pause",
        "connections-title",
        "targets-title",
        "keys-title",
        "status.json",
        "metrics",
        "healthz",
    ];
    ensure!(is_subsequence(&seen, &wanted), "Tab went through {seen:?}");
    // The skip link leads past the header.
    browser.value("document.querySelector('.skip').focus()")?;
    browser.press("Enter")?;
    until(browser, "document.activeElement.id", |id| id == "main")?;
    Ok(())
}

/// Whether `seen` is `wanted`, of which tables may be missing: they are shown where they have rows.
fn is_subsequence(seen: &[String], wanted: &[&str]) -> bool {
    let is_table = |name: &&&str| name.ends_with("-title");
    let must: Vec<_> = wanted.iter().filter(|name| !is_table(name)).collect();
    let mut rest = wanted.iter();
    seen.iter().all(|name| rest.any(|of| of == name))
        && must.iter().all(|name| seen.iter().any(|of| of == **name))
}

/// Looks at the page on every screen, and draws it.
fn draw(browser: &mut Browser, program: &str, pictures: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (screen, size, is_phone) in SCREENS {
        for (scheme, is_dark) in [("light", false), ("dark", true)] {
            browser.look_like(size, is_phone, is_dark)?;
            let file = pictures.join(format!("{program}-{screen}-{scheme}.png"));
            let problems = browser.value(LOOK)?;
            fs::write(&file, browser.screenshot()?)?;
            let problems = problems
                .as_array()
                .context("the look gives no list")?
                .clone();
            ensure!(problems.is_empty(), "{}: {problems:?}", file.display());
            files.push(file);
        }
    }
    Ok(files)
}
