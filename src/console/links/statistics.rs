//! What became of a link: its clicks as numbers, as pictures, and as tables behind the pictures for who can't see them.

use std::fmt::Write as _;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    web::{Data, Query},
};
use askama::Template;
use jiff::{Timestamp, ToSpan as _, civil::Date};
use serde::Deserialize;

use super::{Heading, OwnLink, Tab};
use crate::{
    console::page::{Error, Frame, Section, html},
    domain::statistics::{DAYS_MAX, Days, InvalidDays, Statistics},
    languages::{Html, Language},
    state::App,
};

/// Weeks begin on Monday; the counters' on Sunday.
const WEEKDAYS: [u8; 7] = [1, 2, 3, 4, 5, 6, 0];

/// In days.
const RANGES: [u32; 4] = [7, 30, 90, YEAR];
const YEAR: u32 = 365;

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
    total: Html<'static>,
    bots: Html<'static>,
    prefetches: Html<'static>,
    from: Date,
    to: Date,
    /// What stands in the fields for the days: those that are shown, or what was typed instead.
    typed: [String; 2],
    ranges: Vec<Range<'a>>,
    mistake: Option<Html<'a>>,
    in_range: Html<'static>,
    line: Line,
    hours: Vec<HourRow<'a>>,
    devices: Vec<Device<'a>>,
    timezone: &'a str,
}

struct Range<'a> {
    words: Html<'a>,
    from: Date,
    to: Date,
    is_shown: bool,
}

/// The clicks of each day as a line.
struct Line {
    points: String,
    area: String,
    top: Html<'static>,
    bottom_y: u32,
    days: Vec<(Date, Html<'static>)>,
}

struct HourRow<'a> {
    name: Html<'a>,
    y: usize,
    cells: Vec<Cell>,
}

struct Cell {
    hour: u8,
    x: usize,
    shade: u64,
    clicks: u64,
}

struct Device<'a> {
    name: Html<'a>,
    clicks: Html<'static>,
    y: usize,
    width: u64,
    percent: u64,
}

/// `GET /console/links/{code}/statistics`.
pub async fn show(app: Data<App>, own: OwnLink, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let OwnLink { officer, link } = own;
    let today = today(&app);
    let words = &*officer.words;
    let (days, mistake) = match asked.days(today) {
        Ok(days) => (days, None),
        Err(mistake) => (Days::asked(None, None, today).map_err(|_| Error::NotFound)?, Some(mistake.said(words))),
    };
    let statistics = app.store.statistics(&link.code, days).await?;
    let from = statistics.daily.first().map_or(today, |(day, _)| *day);
    let to = statistics.daily.last().map_or(today, |(day, _)| *day);
    let range = |days: u32| {
        let first = today.saturating_sub((i64::from(days) - 1).days());
        let words = if days == YEAR { words.clicks_range_year() } else { words.clicks_range_days(days) };
        Range { words, from: first, to: today, is_shown: (first, today) == (from, to) }
    };
    let in_range = statistics.daily.iter().map(|(_, clicks)| clicks).sum();
    let status = if mistake.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let shown = [from, to].map(|day| day.to_string());
    let page = StatisticsPage {
        frame: Frame::of(&app, &officer, Section::Links),
        heading: Heading::of(&app, &officer, &link, Tab::Clicks),
        total: words.number(statistics.total),
        bots: words.number(statistics.bots),
        prefetches: words.number(statistics.prefetches),
        from,
        to,
        typed: if mistake.is_some() { [asked.from.clone(), asked.to.clone()] } else { shown },
        ranges: RANGES.into_iter().map(range).collect(),
        in_range: words.clicks_in_range(words.number(in_range), words.day(from), in_range, words.day(to)),
        line: Line::of(words, &statistics),
        hours: heat_map(words, &statistics),
        devices: devices(words, &statistics),
        timezone: app.config.clicks.timezone.iana_name().unwrap_or("UTC"),
        mistake,
    };
    Ok(html(status, &page))
}

/// `GET /console/links/{code}/clicks.csv`: dates and numbers, nothing that would need a quote.
pub async fn csv(app: Data<App>, own: OwnLink, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let link = own.link;
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
    fn days(&self, today: Date) -> Result<Days, Mistake> {
        let date = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Mistake::NoDay),
        };
        Days::asked(date(&self.from)?, date(&self.to)?, today).map_err(Mistake::Days)
    }
}

/// What can be wrong with the days that are asked for.
enum Mistake {
    NoDay,
    Days(InvalidDays),
}

impl Mistake {
    fn said(self, words: &Language) -> Html<'_> {
        match self {
            Self::NoDay => words.clicks_no_day(),
            Self::Days(InvalidDays::Backwards) => words.clicks_backwards(),
            Self::Days(InvalidDays::TooMany) => words.clicks_too_many_days(DAYS_MAX.unsigned_abs()),
        }
    }
}

fn today(app: &App) -> Date {
    Timestamp::now().to_zoned(app.config.clicks.timezone.clone()).date()
}

impl Line {
    fn of(words: &Language, statistics: &Statistics) -> Self {
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
        let days = statistics.daily.iter().map(|(day, clicks)| (*day, words.number(*clicks))).collect();
        Self { points, area, top: words.number(highest), bottom_y, days }
    }
}

fn heat_map<'w>(words: &'w Language, statistics: &Statistics) -> Vec<HourRow<'w>> {
    let highest = statistics.hours_of_week.iter().map(|hour| hour.clicks).max().unwrap_or(0).max(1);
    let clicks_at = |weekday: u8, hour: u8| {
        let found = statistics.hours_of_week.iter().find(|found| (found.weekday, found.hour) == (weekday, hour));
        found.map_or(0, |found| found.clicks)
    };
    let row = |(index, weekday): (usize, u8)| {
        let cell = |hour: u8| {
            let clicks = clicks_at(weekday, hour);
            Cell { hour, x: 48 + 30 * usize::from(hour), shade: (clicks * SHADES).div_ceil(highest), clicks }
        };
        HourRow { name: weekday_name(weekday, words), y: 20 + 26 * index, cells: (0..24).map(cell).collect() }
    };
    WEEKDAYS.into_iter().enumerate().map(row).collect()
}

fn weekday_name(weekday: u8, words: &Language) -> Html<'_> {
    match weekday {
        1 => words.clicks_monday_label(),
        2 => words.clicks_tuesday_label(),
        3 => words.clicks_wednesday_label(),
        4 => words.clicks_thursday_label(),
        5 => words.clicks_friday_label(),
        6 => words.clicks_saturday_label(),
        _ => words.clicks_sunday_label(),
    }
}

fn devices<'w>(words: &'w Language, statistics: &Statistics) -> Vec<Device<'w>> {
    let devices = &statistics.devices;
    let total = (devices.desktop + devices.mobile + devices.tablet + devices.others).max(1);
    let all = [
        (words.clicks_desktop_label(), devices.desktop),
        (words.clicks_mobile_label(), devices.mobile),
        (words.clicks_tablet_label(), devices.tablet),
        (words.clicks_others_label(), devices.others),
    ];
    let device = |(index, (name, clicks)): (usize, (Html<'w>, u64))| Device {
        name,
        clicks: words.number(clicks),
        y: 8 + 34 * index,
        width: clicks * 480 / total,
        percent: clicks * 100 / total,
    };
    all.into_iter().enumerate().map(device).collect()
}
