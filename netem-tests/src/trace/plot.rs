//! Draws a trace: five panels over one time axis, for people who ask why a transfer went as it did.
//!
//! 1. rates: what the pacer allows, what was sent, what was acknowledged, what is believed to be delivered
//! 2. round trips: newest, smoothed, smallest; the gap between the lowest two is queue
//! 3. bytes in flight under their window
//! 4. losses, as a share of what was sent at that time, with what of it is believed not to be congestion; verdicts that were wrong
//! 5. the controller's states as colours, with queue and queue target

use std::ops::Range;

use anyhow::anyhow;
use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{PathElement, Rectangle, Text},
    series::LineSeries,
    style::{BLACK, Color, RGBAColor, RGBColor, ShapeStyle, WHITE},
};

use super::read::{Series, Trace};

const WIDTH: u32 = 1000;
const PANEL_HEIGHT: u32 = 190;
const HEAD_HEIGHT: u32 = 46;
/// Points a line is thinned out to: the lowest and the highest of each of half as many columns.
const COLUMNS: usize = 700;
/// Bins that rates and loss shares are taken over.
const BINS: f64 = 150.0;
const LEAST_BIN: f64 = 0.02;
/// A bin is at least this part of a round trip: ACKs come in bunches.
const BIN_OF_RTT: f64 = 0.4;

const RED: RGBColor = RGBColor(213, 94, 0);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const GREY: RGBColor = RGBColor(110, 110, 110);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
/// For states, in the order in which they first come.
const BANDS: [RGBColor; 7] = [
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(240, 228, 66),
    RGBColor(213, 94, 0),
    RGBColor(110, 110, 110),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Panel<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A line of a panel.
struct Line<'a> {
    name: &'a str,
    points: Series,
    colour: RGBColor,
    width: u32,
}

/// What a panel shows.
struct Picture<'a> {
    y_label: &'a str,
    lines: Vec<Line<'a>>,
    y: Range<f64>,
}

/// The picture of `trace` between two times in seconds, as the text of an SVG file.
///
/// # Errors
/// There is nothing between them, or the drawing library refuses.
pub fn svg(trace: &Trace, span: Range<f64>) -> anyhow::Result<String> {
    let span = span.start.max(0.0)..span.end.min(trace.end);
    if span.is_empty() {
        return Err(anyhow!("nothing happens between these times"));
    }
    let mut text = String::new();
    {
        let size = (WIDTH, HEAD_HEIGHT + 5 * PANEL_HEIGHT);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(refused)?;
        let (head, body) = area.split_vertically(HEAD_HEIGHT);
        for (line, y) in [
            (&format!("{} ({})", trace.title, trace.side), 6),
            (&trace.summary(), 26),
        ] {
            let style = ("sans-serif", 14);
            head.draw(&Text::new(line.clone(), (70, y), style))
                .map_err(refused)?;
        }
        let panels = body.split_evenly((5, 1));
        let rtt = trace.min_rtt.last().map_or(0.0, |(_, rtt)| rtt / 1e3);
        let bin = ((span.end - span.start) / BINS)
            .max(LEAST_BIN)
            .max(rtt * BIN_OF_RTT)
            .min(span.end - span.start);
        rates(trace, &span, bin).draw(&panels[0], &span)?;
        round_trips(trace, &span).draw(&panels[1], &span)?;
        flight(trace, &span).draw(&panels[2], &span)?;
        losses(trace, &span, bin, &panels[3])?;
        controller(trace, &span, &panels[4])?;
        area.present().map_err(refused)?;
    }
    text.push('\n');
    Ok(text)
}

fn rates<'a>(trace: &Trace, span: &Range<f64>, bin: f64) -> Picture<'a> {
    let per_second = |points: Series| scaled(points, 8e-6 / bin);
    let acked = if trace.acked.is_empty() {
        per_second(binned(&trace.received, span, bin))
    } else {
        per_second(binned(&steps(&trace.acked), span, bin))
    };
    let sent = per_second(binned(&trace.sent, span, bin));
    let empty = Series::new();
    let believed = trace.estimates.get("delivery_rate").unwrap_or(&empty);
    let believed = scaled(held(believed, span), 1e-6);
    let pacing = scaled(held(&trace.pacing_rate, span), 1e-6);
    // A rate nobody could use, as at the very beginning, must not flatten all others.
    let top = highest([&sent, &acked, &believed]) * 1.3;
    let name = if trace.acked.is_empty() {
        "received"
    } else {
        "acknowledged"
    };
    Picture {
        y_label: "Mbit/s",
        y: 0.0..top.max(0.001),
        lines: vec![
            line("pacing rate", pacing, GREY, 1),
            line("sent", sent, BLUE, 1),
            line("delivery, believed", believed, GREEN, 1),
            line(name, acked, RED, 2),
        ],
    }
}

fn round_trips<'a>(trace: &Trace, span: &Range<f64>) -> Picture<'a> {
    let latest = held(&trace.latest_rtt, span);
    let smallest = held(&trace.min_rtt, span);
    let low = smallest
        .iter()
        .chain(&latest)
        .map(|(_, rtt)| *rtt)
        .fold(f64::INFINITY, f64::min);
    let low = if low.is_finite() { low } else { 0.0 };
    let high = highest([&latest]).max(low + 1.0);
    let margin = (high - low) * 0.08;
    Picture {
        y_label: "RTT, ms",
        y: (low - margin).max(0.0)..high + margin,
        lines: vec![
            line("newest", latest, BLUE, 1),
            line("smoothed", held(&trace.smoothed_rtt, span), RED, 2),
            line("smallest", smallest, GREEN, 2),
        ],
    }
}

fn flight<'a>(trace: &Trace, span: &Range<f64>) -> Picture<'a> {
    let in_flight = scaled(held(&trace.in_flight, span), 1e-6);
    let window = scaled(held(&trace.window, span), 1e-6);
    let top = highest([&in_flight]) * 2.5;
    Picture {
        y_label: "MB",
        y: 0.0..highest([&window]).min(top).max(0.001) * 1.05,
        lines: vec![
            line("window", window, GREY, 1),
            line("in flight", in_flight, BLUE, 2),
        ],
    }
}

fn losses(trace: &Trace, span: &Range<f64>, bin: f64, area: &Area<'_>) -> anyhow::Result<()> {
    let ones = |series: &Series| -> Series { series.iter().map(|(at, _)| (*at, 1.0)).collect() };
    let sent = binned(&ones(&trace.sent), span, bin);
    let lost = binned(&ones(&trace.lost), span, bin);
    let share: Series = lost
        .iter()
        .zip(&sent)
        .map(|((at, lost), (_, sent))| (*at, lost / sent.max(1.0) * 100.0))
        .collect();
    let empty = Series::new();
    let random_loss = trace.estimates.get("random_loss").unwrap_or(&empty);
    let random_loss = scaled(held(random_loss, span), 100.0);
    let top = (highest([&share, &random_loss]) * 1.25).max(0.5);
    let picture = Picture {
        y_label: "loss, %",
        y: 0.0..top,
        lines: vec![
            line("lost", share, RED, 1),
            line("believed no congestion", random_loss, GREEN, 2),
        ],
    };
    let mut panel = picture.begin(area, span)?;
    let mut entries = picture.entries();
    let ticks = [
        ("wrongly taken for lost", &trace.spurious, BLUE, 0.94),
        (
            "probe timeout",
            &trace.probe_timeouts,
            RGBColor(0, 0, 0),
            0.86,
        ),
    ];
    for (name, times, colour, height) in ticks {
        let shown = thinned_times(times, span);
        let marks = shown.iter().map(|at| {
            let ends = vec![(*at, top * height), (*at, top)];
            PathElement::new(ends, colour.stroke_width(1))
        });
        panel.draw_series(marks).map_err(refused)?;
        if !shown.is_empty() {
            entries.push((name.to_owned(), Swatch::Tick(colour)));
        }
    }
    picture.finish(&mut panel)?;
    legend(area, entries)
}

fn controller(trace: &Trace, span: &Range<f64>, area: &Area<'_>) -> anyhow::Result<()> {
    let empty = Series::new();
    let estimate = |name: &str| held(trace.estimates.get(name).unwrap_or(&empty), span);
    let (queue, target) = (estimate("queue_delay"), estimate("queue_target_ms"));
    let top = (highest([&queue, &target]) * 1.25).max(1.0);
    let picture = Picture {
        y_label: "queue, ms",
        y: 0.0..top,
        lines: vec![
            line("queue, believed", queue, BLUE, 2),
            line("queue target", target, PURPLE, 2),
        ],
    };
    let mut panel = picture.begin(area, span)?;
    let mut names: Vec<&str> = Vec::new();
    for (index, (from, name)) in trace.states.iter().enumerate() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
        let to = trace.states.get(index + 1).map_or(trace.end, |next| next.0);
        let (from, to) = (from.max(span.start), to.min(span.end));
        if from < to {
            let corners = [(from, 0.0), (to, top)];
            panel
                .draw_series([Rectangle::new(corners, band(&names, name).filled())])
                .map_err(refused)?;
        }
    }
    // The lines go over the bands.
    picture.finish(&mut panel)?;
    let states = names
        .iter()
        .map(|name| ((*name).to_owned(), Swatch::Band(band(&names, name))));
    legend(area, states.chain(picture.entries()).collect())
}

/// How a thing looks, for the legend.
enum Swatch {
    Line(RGBColor, u32),
    Tick(RGBColor),
    Band(RGBAColor),
}

type Entry = (String, Swatch);

/// Beside the panel: plotters keeps its own legends inside, where the lines are.
fn legend(area: &Area<'_>, entries: Vec<Entry>) -> anyhow::Result<()> {
    let x = i32::try_from(WIDTH - 172).unwrap_or(i32::MAX);
    for (y, (name, swatch)) in (14..).step_by(17).zip(entries) {
        match swatch {
            Swatch::Line(colour, width) => {
                let style = ShapeStyle::from(colour).stroke_width(width);
                area.draw(&PathElement::new([(x, y), (x + 18, y)], style))
            }
            Swatch::Tick(colour) => {
                let ends = [(x + 9, y - 6), (x + 9, y + 6)];
                area.draw(&PathElement::new(ends, colour.stroke_width(2)))
            }
            Swatch::Band(colour) => {
                let corners = [(x, y - 6), (x + 18, y + 6)];
                area.draw(&Rectangle::new(corners, colour.filled()))
            }
        }
        .map_err(refused)?;
        area.draw(&Text::new(name, (x + 24, y - 6), ("sans-serif", 12)))
            .map_err(refused)?;
    }
    Ok(())
}

fn band(names: &[&str], name: &str) -> RGBAColor {
    let index = names.iter().position(|known| *known == name).unwrap_or(0);
    BANDS[index % BANDS.len()].mix(0.35)
}

impl Picture<'_> {
    fn draw(&self, area: &Area<'_>, span: &Range<f64>) -> anyhow::Result<()> {
        let mut panel = self.begin(area, span)?;
        self.finish(&mut panel)?;
        legend(area, self.entries())
    }

    /// Of the lines that are there.
    fn entries(&self) -> Vec<Entry> {
        let there = self.lines.iter().filter(|line| !line.points.is_empty());
        there
            .map(|line| (line.name.to_owned(), Swatch::Line(line.colour, line.width)))
            .collect()
    }

    /// Axes.
    fn begin<'a, 'b>(&self, area: &Area<'b>, span: &Range<f64>) -> anyhow::Result<Panel<'a, 'b>> {
        let mut panel = ChartBuilder::on(area)
            .margin_top(4)
            .margin_left(6)
            .margin_right(180)
            .x_label_area_size(26)
            .y_label_area_size(60)
            .build_cartesian_2d(span.clone(), self.y.clone())
            .map_err(refused)?;
        panel
            .configure_mesh()
            .x_desc("")
            .y_desc(self.y_label)
            .x_labels(11)
            .y_labels(5)
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .x_label_formatter(&|x| format!("{} s", short(*x)))
            .y_label_formatter(&|y| short(*y))
            .draw()
            .map_err(refused)?;
        Ok(panel)
    }

    fn finish(&self, panel: &mut Panel<'_, '_>) -> anyhow::Result<()> {
        for line in &self.lines {
            let style = ShapeStyle::from(line.colour).stroke_width(line.width);
            let (low, high) = (self.y.start, self.y.end);
            let points = thinned(&line.points);
            let inside = points.into_iter().map(|(x, y)| (x, y.clamp(low, high)));
            panel
                .draw_series(LineSeries::new(inside, style))
                .map_err(refused)?;
        }
        Ok(())
    }
}

fn line(name: &str, points: Series, colour: RGBColor, width: u32) -> Line<'_> {
    Line {
        name,
        points,
        colour,
        width,
    }
}

fn scaled(points: Series, by: f64) -> Series {
    points.into_iter().map(|(at, y)| (at, y * by)).collect()
}

fn highest<'a>(all: impl IntoIterator<Item = &'a Series>) -> f64 {
    all.into_iter()
        .flatten()
        .map(|(_, y)| *y)
        .fold(0.0, f64::max)
}

/// A sum as the amounts by which it grew.
fn steps(sum: &Series) -> Series {
    let mut before = 0.0;
    let grown = sum.iter().map(|&(at, y)| {
        let step = y - before;
        before = y;
        (at, step)
    });
    grown.collect()
}

/// The values added up in bins, each at its middle.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of bins: at most a few hundred, and times before the span are left out"
)]
fn binned(points: &Series, span: &Range<f64>, bin: f64) -> Series {
    let count = ((span.end - span.start) / bin).ceil().max(1.0) as usize;
    let mut bins: Series = (0..count)
        .map(|index| (span.start + (index as f64 + 0.5) * bin, 0.0))
        .collect();
    for (at, y) in points {
        if span.contains(at) {
            let index = ((at - span.start) / bin) as usize;
            bins[index.min(count - 1)].1 += y;
        }
    }
    bins
}

/// A value that holds until the next one, as a line with corners.
fn held(points: &Series, span: &Range<f64>) -> Series {
    let mut line = Series::new();
    let mut last: Option<f64> = None;
    for &(at, y) in points {
        if at > span.end {
            break;
        }
        if at < span.start {
            last = Some(y);
            continue;
        }
        if let Some(before) = last {
            let from = line.last().map_or(span.start, |_| at);
            line.push((from, before));
            if from < at {
                line.push((at, before));
            }
        }
        line.push((at, y));
        last = Some(y);
    }
    if let Some(last) = last {
        if line.is_empty() {
            line.push((span.start, last));
        }
        line.push((span.end, last));
    }
    line
}

/// No more points than can be told apart: of each column the first, the lowest, the highest and the last.
fn thinned(points: &Series) -> Series {
    let per_column = points.len() * 4 / COLUMNS;
    if per_column <= 4 {
        return points.clone();
    }
    let mut thin = Series::with_capacity(COLUMNS + 4);
    for column in points.chunks(per_column) {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut kept = [
            column.first(),
            column.iter().min_by(by),
            column.iter().max_by(by),
            column.last(),
        ];
        kept.sort_by(|a, b| {
            let time = |point: &Option<&(f64, f64)>| point.map_or(0.0, |point| point.0);
            time(a).total_cmp(&time(b))
        });
        thin.extend(kept.into_iter().flatten());
    }
    thin.dedup();
    thin
}

/// Times that can be told apart.
fn thinned_times(times: &[f64], span: &Range<f64>) -> Vec<f64> {
    let least = (span.end - span.start) / COLUMNS as f64;
    let mut shown: Vec<f64> = Vec::new();
    for &at in times.iter().filter(|at| span.contains(at)) {
        if shown.last().is_none_or(|last| at >= last + least) {
            shown.push(at);
        }
    }
    shown
}

fn short(x: f64) -> String {
    let text = format!("{x:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}
