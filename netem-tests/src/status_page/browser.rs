//! Headless Chromium, told what to do over its debugging pipe (`--remote-debugging-pipe`): JSON messages that end
//! with a zero byte. Only what `status_page` needs.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::leftovers::note_process;

/// Longest wait for an answer: a loaded machine draws slowly.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Its pipes are descriptors 3 and 4; ours are standard input and output.
const PIPES: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// A running browser with one page.
#[derive(Debug)]
pub(super) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    last_id: u64,
}

impl Browser {
    /// Starts `program` with its files in `folder`.
    pub(super) fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", PIPES])
            .arg(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!(
                "--user-data-dir={}",
                folder.join("chromium").display()
            ))
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        note_process(folder, "chromium", child.id())?;
        let input = child.stdin.take().context("its input is a pipe")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        let messages = listen(output);
        let mut browser = Self {
            child,
            input,
            messages,
            session: String::new(),
            last_id: 0,
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach)?;
        attached["sessionId"]
            .as_str()
            .context("the browser names no session")?
            .clone_into(&mut browser.session);
        browser.call("Page.enable", json!({}))?;
        Ok(browser)
    }

    /// What the browser answers to a call of its protocol.
    pub(super) fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.input.write_all(&bytes)?;
        loop {
            let answer = self.messages.recv_timeout(TIMEOUT);
            let answer = answer.with_context(|| format!("no answer to {method}"))?;
            if answer["id"] != json!(self.last_id) {
                // Something happened that nobody asked about.
                continue;
            }
            if let Some(error) = answer.get("error") {
                bail!("{method}: {error}");
            }
            return Ok(answer["result"].clone());
        }
    }

    /// Opens `url`.
    pub(super) fn open(&mut self, url: &str) -> anyhow::Result<()> {
        let opened = self.call("Page.navigate", json!({ "url": url }))?;
        match opened["errorText"].as_str() {
            Some(error) => bail!("{url}: {error}"),
            None => Ok(()),
        }
    }

    /// The value of a JavaScript expression; a promise is waited for.
    pub(super) fn value(&mut self, expression: &str) -> anyhow::Result<Value> {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", params)?;
        if let Some(exception) = answer.get("exceptionDetails") {
            bail!("{expression}: {exception}");
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Presses and releases a key: `Tab`, `Enter`.
    pub(super) fn press(&mut self, key: &str) -> anyhow::Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            _ => bail!("no code for the key {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params)?;
        }
        Ok(())
    }

    /// Clicks in the middle of the element that `selector` names.
    pub(super) fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        let at = self.value(&format!(
            "(() => {{ const box = document.querySelector('{selector}').getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let params =
                json!({ "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", params)?;
        }
        Ok(())
    }

    /// A screen of that many pixels, a phone's or not, in light or dark colours.
    pub(super) fn look_like(
        &mut self,
        size: (u32, u32),
        is_phone: bool,
        is_dark: bool,
    ) -> anyhow::Result<()> {
        let scheme = if is_dark { "dark" } else { "light" };
        let (width, height) = size;
        let scale = if is_phone { 2 } else { 1 };
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", screen)?;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media)?;
        Ok(())
    }

    /// The whole page as PNG.
    pub(super) fn screenshot(&mut self) -> anyhow::Result<Vec<u8>> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", params)?;
        let data = answer["data"]
            .as_str()
            .context("the screenshot has no data")?;
        Ok(STANDARD.decode(data)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the browser's messages on a thread of its own, until it ends.
fn listen(output: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut bytes = Vec::new();
            if !matches!(output.read_until(0, &mut bytes), Ok(1..)) {
                return;
            }
            bytes.pop();
            // What is no JSON answers nothing.
            let Ok(message) = serde_json::from_slice(&bytes) else {
                continue;
            };
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}
