//! Line charts as SVG: names of lines, bands for spread, a logarithmic axis. What is drawn is the
//! sections' matter.

use anyhow::anyhow;
use plotters::prelude::IntoLogRange;
use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext},
    coord::{
        Shift,
        cartesian::Cartesian2d,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    },
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement, Polygon, Text},
    series::LineSeries,
    style::{BLACK, Color, RGBColor, ShapeStyle, WHITE},
};

/// A line with its name.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Stands in the legend.
    pub name: String,
    /// By rising x.
    pub points: Vec<(f64, f64)>,
    /// Lowest and highest at each x, drawn as a pale band: `(x, low, high)`.
    pub band: Vec<(f64, f64, f64)>,
    /// Marks the points too.
    pub has_dots: bool,
}

/// A chart of lines over common axes.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below it.
    pub x_label: String,
    /// Beside it.
    pub y_label: String,
    /// Counts x by powers of ten; every x must be above zero.
    pub has_log_x: bool,
    /// Names of the places 0, 1, 2 and so on along x, where x is no quantity or its values are few.
    pub x_names: Vec<String>,
    /// Highest y; the data's own if absent.
    pub y_max: Option<f64>,
    /// In the legend's order.
    pub lines: Vec<Line>,
}

const SIZE: (u32, u32) = (860, 460);

/// Of it, what the names of the lines take at the right.
const LEGEND: u32 = 210;

/// Room between names of lines.
const LEGEND_STEP: i32 = 20;

/// Room before the first and behind the last of named places, of what is between two.
const NAME_MARGIN: f64 = 0.25;

/// Told apart by people with the common kinds of colour blindness (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    RGBColor(160, 140, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Chart {
    /// The chart as the text of an SVG file.
    ///
    /// # Errors
    /// It has no point, or the drawing library refuses it.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            area.fill(&WHITE).map_err(refused)?;
            let (x, y_max) = self.ranges()?;
            let (left, right) = area.split_horizontally(SIZE.0 - LEGEND);
            if self.has_log_x {
                self.draw(&left, (x.0..x.1).log_scale(), y_max)?;
            } else {
                self.draw(&left, x.0..x.1, y_max)?;
            }
            self.legend(&right)?;
            area.present().map_err(refused)?;
        }
        text.push('\n');
        Ok(text)
    }

    /// Lowest and highest x, highest y.
    fn ranges(&self) -> anyhow::Result<((f64, f64), f64)> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let bands = || self.lines.iter().flat_map(|line| &line.band);
        let min = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let max = all().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
        if !(min.is_finite() && max.is_finite()) || (self.has_log_x && min <= 0.0) {
            return Err(anyhow!("`{}` has no points that can be drawn", self.title));
        }
        let top = all()
            .map(|point| point.1)
            .chain(bands().map(|band| band.2))
            .fold(f64::MIN_POSITIVE, f64::max);
        if let Some(last) = self.x_names.len().checked_sub(1) {
            let x = (-NAME_MARGIN, last as f64 + NAME_MARGIN);
            return Ok((x, self.y_max.unwrap_or(top * 1.05)));
        }
        // A single x needs a little width.
        let max = if max > min {
            max
        } else {
            min.abs().max(0.5).mul_add(0.1, min)
        };
        Ok(((min, max), self.y_max.unwrap_or(top * 1.05)))
    }

    fn draw<X>(&self, area: &Area<'_>, x: X, y_max: f64) -> anyhow::Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(x, 0.0..y_max)
            .map_err(refused)?;
        chart
            .configure_mesh()
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .light_line_style(BLACK.mix(0.05))
            .bold_line_style(BLACK.mix(0.15))
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .x_labels(if self.x_names.is_empty() {
                10
            } else {
                2 * self.x_names.len()
            })
            .x_label_formatter(&|x| self.x_name(*x))
            .y_label_formatter(&|y| number(*y))
            .draw()
            .map_err(refused)?;
        for (index, line) in self.lines.iter().enumerate() {
            line.draw(&mut chart, style(index))?;
        }
        Ok(())
    }

    fn x_name(&self, x: f64) -> String {
        if self.x_names.is_empty() {
            return number(x);
        }
        let place = (0..).zip(&self.x_names).find(|(place, _)| {
            let place: i32 = *place;
            (x - f64::from(place)).abs() < 1e-6
        });
        place.map_or_else(String::new, |(_, name)| name.clone())
    }

    fn legend(&self, area: &Area<'_>) -> anyhow::Result<()> {
        let lines = self.lines.iter().enumerate();
        let mut y = 3 * LEGEND_STEP;
        for (index, line) in lines.filter(|(_, line)| !line.name.is_empty()) {
            let stroke = PathElement::new(vec![(4, y), (26, y)], style(index));
            area.draw(&stroke).map_err(refused)?;
            let name = Text::new(line.name.as_str(), (32, y - 7), ("sans-serif", 13));
            area.draw(&name).map_err(refused)?;
            y += LEGEND_STEP;
        }
        Ok(())
    }
}

/// Of the line at that place: a colour, and thin where colours come again.
fn style(index: usize) -> ShapeStyle {
    let width = if index < COLOURS.len() { 2 } else { 1 };
    ShapeStyle::from(COLOURS[index % COLOURS.len()]).stroke_width(width)
}

impl Line {
    fn draw<X>(
        &self,
        chart: &mut ChartContext<
            '_,
            SVGBackend<'_>,
            Cartesian2d<X, plotters::coord::types::RangedCoordf64>,
        >,
        style: ShapeStyle,
    ) -> anyhow::Result<()>
    where
        X: Ranged<ValueType = f64>,
    {
        if !self.band.is_empty() {
            let outline: Vec<(f64, f64)> = self
                .band
                .iter()
                .map(|(x, low, _)| (*x, *low))
                .chain(self.band.iter().rev().map(|(x, _, high)| (*x, *high)))
                .collect();
            chart
                .draw_series(std::iter::once(Polygon::new(
                    outline,
                    style.color.mix(0.15),
                )))
                .map_err(refused)?;
        }
        chart
            .draw_series(LineSeries::new(self.points.iter().copied(), style))
            .map_err(refused)?;
        if self.has_dots {
            chart
                .draw_series(
                    self.points
                        .iter()
                        .map(|point| Circle::new(*point, 3, style.color.filled())),
                )
                .map_err(refused)?;
        }
        Ok(())
    }
}

/// A number with as many digits as an axis needs.
fn number(x: f64) -> String {
    let text = format!("{x:.3}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart {
            title: "Goodput over loss".to_owned(),
            x_label: "loss, %".to_owned(),
            y_label: "Mbit/s".to_owned(),
            lines: vec![Line {
                name: "tcp <cubic>".to_owned(),
                points: vec![(0.1, 90.0), (1.0, 40.0), (10.0, 2.0)],
                band: vec![(0.1, 80.0, 95.0), (10.0, 1.0, 3.0)],
                has_dots: true,
            }],
            ..Chart::default()
        }
    }

    #[test]
    fn a_chart_names_its_axes_and_lines() {
        for has_log_x in [false, true] {
            let svg = Chart {
                has_log_x,
                ..chart()
            }
            .svg()
            .unwrap();
            assert!(svg.starts_with("<svg"), "{svg}");
            for text in [
                "Goodput over loss",
                "loss, %",
                "Mbit/s",
                "tcp &lt;cubic&gt;",
            ] {
                assert!(svg.contains(text), "{text} is missing");
            }
        }
    }

    #[test]
    fn places_along_x_may_have_names() {
        let mut chart = chart();
        chart.x_names = ["none", "1 %", "5 %"].map(str::to_owned).to_vec();
        chart.lines[0].points = vec![(0.0, 90.0), (1.0, 40.0), (2.0, 2.0)];
        let svg = chart.svg().unwrap();
        for name in &chart.x_names {
            assert!(svg.contains(name.as_str()), "{name} is missing");
        }
    }

    #[test]
    fn a_chart_without_points_is_an_error() {
        assert!(Chart::default().svg().is_err());
        let mut at_zero = chart();
        at_zero.lines[0].points[0].0 = 0.0;
        at_zero.has_log_x = true;
        assert!(at_zero.svg().is_err());
    }
}
