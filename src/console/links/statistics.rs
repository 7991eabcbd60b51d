//! What became of a link: its clicks as numbers, as pictures, and as tables behind the pictures for who can't see them.

use std::fmt::Write as _;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    web::{Data, Path, Query},
};
use askama::Template;
use jiff::{Timestamp, ToSpan as _, civil::Date};
use serde::Deserialize;

use super::{Heading, Tab, own_link};
use crate::{
    console::{
        page::{Error, Frame, Section, grouped, html},
        session::SignedIn,
    },
    domain::statistics::{Days, Statistics},
    state::App,
};

/// Weeks begin on Monday; the counters' on Sunday.
const WEEKDAYS: [(u8, &str); 7] = [(1, "Mon"), (2, "Tue"), (3, "Wed"), (4, "Thu"), (5, "Fri"), (6, "Sat"), (0, "Sun")];

const RANGES: [(i32, &str); 4] = [(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "One year")];

/// The line's picture: width and height of its field, and where that begins.
const FIELD: (u32, u32) = (720, 180);
const FIELD_AT: (u32, u32) = (48, 12);

/// The shades of the heat map besides the empty one.
const SHADES: u64 = 4;

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

#[derive(Template)]
#[template(path = "links/statistics.html")]
struct StatisticsPage<'a> {
    frame: Frame<'a>,
    heading: Heading,
    total: String,
    bots: String,
    prefetches: String,
    from: Date,
    to: Date,
    ranges: Vec<Range>,
    mistake: Option<String>,
    in_range: String,
    line: Line,
    hours: Vec<HourRow>,
    devices: Vec<Device>,
    timezone: &'a str,
}

struct Range {
    words: &'static str,
    from: Date,
    to: Date,
    is_shown: bool,
}

/// The clicks of each day as a line.
struct Line {
    points: String,
    area: String,
    top: String,
    bottom_y: u32,
    days: Vec<(Date, String)>,
}

struct HourRow {
    name: &'static str,
    y: usize,
    cells: Vec<Cell>,
}

struct Cell {
    hour: u8,
    x: usize,
    shade: u64,
    clicks: u64,
}

struct Device {
    name: &'static str,
    clicks: String,
    y: usize,
    width: u64,
    percent: u64,
}

/// `GET /console/links/{code}/statistics`.
pub async fn show(
    app: Data<App>,
    officer: SignedIn,
    code: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let link = own_link(&app, &officer, &code).await?.link;
    let today = today(&app);
    let (days, mistake) = match asked.days(today) {
        Ok(days) => (days, None),
        Err(words) => (Days::asked(None, None, today).map_err(|_| Error::NotFound)?, Some(words)),
    };
    let statistics = app.store.statistics(&link.code, days).await?;
    let from = statistics.daily.first().map_or(today, |(day, _)| *day);
    let to = statistics.daily.last().map_or(today, |(day, _)| *day);
    let range = |(days, words): (i32, &'static str)| {
        let first = today.saturating_sub((days - 1).days());
        Range { words, from: first, to: today, is_shown: (first, today) == (from, to) }
    };
    let page = StatisticsPage {
        frame: Frame::of(&app, &officer, Section::Links),
        heading: Heading::of(&app, &link, Tab::Clicks),
        total: grouped(statistics.total),
        bots: grouped(statistics.bots),
        prefetches: grouped(statistics.prefetches),
        from,
        to,
        ranges: RANGES.into_iter().map(range).collect(),
        in_range: grouped(statistics.daily.iter().map(|(_, clicks)| clicks).sum()),
        line: Line::of(&statistics),
        hours: heat_map(&statistics),
        devices: devices(&statistics),
        timezone: app.config.clicks.timezone.iana_name().unwrap_or("UTC"),
        mistake: mistake.clone(),
    };
    Ok(html(if mistake.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}

/// `GET /console/links/{code}/clicks.csv`: dates and numbers, nothing that would need a quote.
pub async fn csv(
    app: Data<App>,
    officer: SignedIn,
    code: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let link = own_link(&app, &officer, &code).await?.link;
    let days = asked.days(today(&app)).map_err(|_| Error::Malformed)?;
    let statistics = app.store.statistics(&link.code, days).await?;
    let mut text = "date,clicks\r\n".to_owned();
    for (day, clicks) in &statistics.daily {
        let _ = write!(text, "{day},{clicks}\r\n");
    }
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{}-clicks.csv\"", link.code)))
        .body(text))
}

impl Asked {
    fn days(&self, today: Date) -> Result<Days, String> {
        let date = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| "A day looks like 2026-01-31.".to_owned()),
        };
        Days::asked(date(&self.from)?, date(&self.to)?, today).map_err(|error| error.to_string())
    }
}

fn today(app: &App) -> Date {
    Timestamp::now().to_zoned(app.config.clicks.timezone.clone()).date()
}

impl Line {
    fn of(statistics: &Statistics) -> Self {
        let highest = statistics.daily.iter().map(|(_, clicks)| *clicks).max().unwrap_or(0).max(1);
        let ((width, height), (left, top)) = (FIELD, FIELD_AT);
        let last = u64::try_from(statistics.daily.len().saturating_sub(1)).unwrap_or(u64::MAX).max(1);
        let point = |(index, (_, clicks)): (u64, &(Date, u64))| {
            let x = u64::from(left) + index * u64::from(width) / last;
            let y = u64::from(top) + (highest - clicks) * u64::from(height) / highest;
            format!("{x},{y}")
        };
        let points: Vec<String> = (0..).zip(&statistics.daily).map(point).collect();
        let points = points.join(" ");
        let bottom_y = top + height;
        let area = format!("{left},{bottom_y} {points} {},{bottom_y}", left + width);
        let days = statistics.daily.iter().map(|(day, clicks)| (*day, grouped(*clicks))).collect();
        Self { points, area, top: grouped(highest), bottom_y, days }
    }
}

fn heat_map(statistics: &Statistics) -> Vec<HourRow> {
    let highest = statistics.hours_of_week.iter().map(|hour| hour.clicks).max().unwrap_or(0).max(1);
    let clicks_at = |weekday: u8, hour: u8| {
        let found = statistics.hours_of_week.iter().find(|found| (found.weekday, found.hour) == (weekday, hour));
        found.map_or(0, |found| found.clicks)
    };
    let row = |(index, (weekday, name)): (usize, (u8, &'static str))| {
        let cell = |hour: u8| {
            let clicks = clicks_at(weekday, hour);
            Cell { hour, x: 48 + 30 * usize::from(hour), shade: (clicks * SHADES).div_ceil(highest), clicks }
        };
        HourRow { name, y: 20 + 26 * index, cells: (0..24).map(cell).collect() }
    };
    WEEKDAYS.into_iter().enumerate().map(row).collect()
}

fn devices(statistics: &Statistics) -> Vec<Device> {
    let devices = &statistics.devices;
    let total = (devices.desktop + devices.mobile + devices.tablet + devices.others).max(1);
    let all = [
        ("Desktop", devices.desktop),
        ("Mobile", devices.mobile),
        ("Tablet", devices.tablet),
        ("Others", devices.others),
    ];
    let device = |(index, (name, clicks)): (usize, (&'static str, u64))| Device {
        name,
        clicks: grouped(clicks),
        y: 8 + 34 * index,
        width: clicks * 480 / total,
        percent: clicks * 100 / total,
    };
    all.into_iter().enumerate().map(device).collect()
}
