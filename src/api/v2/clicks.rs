//! How often a link was followed, and what an owner's tags come to.

use actix_web::{HttpResponse, http::StatusCode, web::Path};
use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, json},
    fields::Parameters,
    links::find,
    problem::{Mistake, Problem},
};
use crate::{
    auth::StatsRead,
    domain::{
        Tag,
        statistics::{Days, Statistics, TagSums},
    },
};

/// What was counted of a link. Bots and prefetches are in no other number.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Clicks)]
pub struct ClicksBody {
    /// By people, in the link's life.
    #[schema(example = 1042)]
    pub total: u64,
    /// By crawlers, link previews and HTTP libraries, in the link's life.
    #[schema(example = 87)]
    pub bots: u64,
    /// Pages that a browser fetched before anybody asked for them, in the link's life.
    #[schema(example = 3)]
    pub prefetches: u64,
    pub devices: DevicesBody,
    /// Every day that was asked for, days without a click too.
    pub daily: Vec<DayBody>,
    /// The hours of the week in which the link was ever clicked.
    pub weekday_hours: Vec<HourBody>,
    /// Whose days and hours these are.
    #[schema(example = "Asia/Singapore")]
    pub timezone: String,
}

/// Clicks by device, in the link's life; their sum is the total.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Devices, example = json!({"desktop": 402, "mobile": 590, "tablet": 38, "others": 12}))]
pub struct DevicesBody {
    pub desktop: u64,
    pub mobile: u64,
    pub tablet: u64,
    pub others: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Day)]
pub struct DayBody {
    #[schema(format = Date, value_type = String, example = "2026-11-23")]
    pub date: String,
    #[schema(example = 5)]
    pub clicks: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WeekdayHour)]
pub struct HourBody {
    /// 0 is Sunday.
    #[schema(minimum = 0, maximum = 6, example = 1)]
    pub weekday: u8,
    #[schema(minimum = 0, maximum = 23, example = 9)]
    pub hour: u8,
    #[schema(example = 3)]
    pub clicks: u64,
}

/// Read a link's clicks.
///
/// Counters show a click within a second. Days and hours are those of `timezone`.
#[utoipa::path(
    get, path = "/links/{code}/clicks", tag = "statistics", security(("key" = ["stats:read"])),
    params(
        ("code" = String, Path, description = "The link's code"),
        ("from" = Option<String>, Query, format = Date, description = "The first day, as 2026-11-23; six days before `to` when it isn't said"),
        ("to" = Option<String>, Query, format = Date, description = "The last day, included; today when it isn't said. At most 3,653 days"),
    ),
    responses((status = 200, description = "The counters", body = ClicksBody))
)]
pub async fn read(call: Call<StatsRead>, code: Path<String>) -> Result<HttpResponse, Problem> {
    let timezone = &call.app.config.clicks.timezone;
    let today = Timestamp::now().to_zoned(timezone.clone()).date();
    let mut parameters = Parameters::of(call.request.query_string());
    let (from, to) = (parameters.one("from", parse_date), parameters.one("to", parse_date));
    parameters.finish(())?;
    let days = Days::asked(from, to, today).map_err(|error| Problem::mistakes(vec![Mistake::of("from", error)]))?;
    let code = find(&call, &code).await?.link.code;
    let statistics = call.app.store.statistics(&code, days).await?;
    let timezone = timezone.iana_name().unwrap_or("UTC").to_owned();
    Ok(json(StatusCode::OK, &ClicksBody::new(statistics, timezone)))
}

/// An owner's tags.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TagList)]
pub struct TagsBody {
    /// In alphabetical order.
    pub items: Vec<TagBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TagSums)]
pub struct TagBody {
    /// In lower case.
    #[schema(example = "tax")]
    pub tag: String,
    #[schema(example = 12)]
    pub links: u64,
    /// Clicks of people on all of these links, in their lives.
    #[schema(example = 10_420)]
    pub clicks: u64,
}

/// List your tags.
///
/// With the number of links that have each, and of their clicks.
#[utoipa::path(
    get, path = "/tags", operation_id = "list_tags", tag = "statistics", security(("key" = ["stats:read"])),
    responses((status = 200, description = "Your tags", body = TagsBody))
)]
pub async fn tags(call: Call<StatsRead>) -> Result<HttpResponse, Problem> {
    Parameters::of(call.request.query_string()).finish(())?;
    let owner = &call.officer().email;
    let mut items = Vec::new();
    for tag in call.app.store.tags_of(owner).await? {
        let sums = call.app.store.tag_sums(owner, &tag).await?;
        items.extend((sums.links > 0).then(|| TagBody::new(&tag, sums)));
    }
    Ok(json(StatusCode::OK, &TagsBody { items }))
}

fn parse_date(text: &str) -> Result<Date, &'static str> {
    // Only this form: jiff would also read a time.
    let date = text.parse().ok().filter(|date: &Date| date.to_string() == text);
    date.ok_or("must be a date as 2026-11-23")
}

impl ClicksBody {
    fn new(statistics: Statistics, timezone: String) -> Self {
        let Statistics { total, bots, prefetches, devices, daily, hours_of_week } = statistics;
        let day = |(date, clicks): (Date, u64)| DayBody { date: date.to_string(), clicks };
        let hours = hours_of_week.into_iter();
        Self {
            total,
            bots,
            prefetches,
            devices: DevicesBody {
                desktop: devices.desktop,
                mobile: devices.mobile,
                tablet: devices.tablet,
                others: devices.others,
            },
            daily: daily.into_iter().map(day).collect(),
            weekday_hours: hours
                .map(|hour| HourBody { weekday: hour.weekday, hour: hour.hour, clicks: hour.clicks })
                .collect(),
            timezone,
        }
    }
}

impl TagBody {
    fn new(tag: &Tag, sums: TagSums) -> Self {
        Self { tag: tag.key(), links: sums.links, clicks: sums.clicks }
    }
}
