use std::collections::HashMap;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use tidegate_store::{QuotaLease, QuotaUse};

use super::*;
use crate::{Identity, LimitConfig, Principal, QuotaUnavailable};

/// A database of quotas in memory, which can be away.
#[derive(Debug, Default)]
struct Quotas {
    used: Mutex<HashMap<(String, i64), u64>>,
    is_away: Mutex<bool>,
}

impl Quotas {
    fn used(&self) -> u64 {
        self.used.lock().values().sum()
    }
}

impl QuotaStore for Quotas {
    fn lease<'a>(
        &'a self,
        request: QuotaUse<'a>,
    ) -> BoxFuture<'a, Result<QuotaLease, QuotaUnavailable>> {
        Box::pin(async move {
            if *self.is_away.lock() {
                return Err(QuotaUnavailable("it is away".to_owned()));
            }
            let mut all = self.used.lock();
            let used = all
                .entry((request.quota.to_owned(), request.period_ms))
                .or_default();
            *used += request.owed;
            let left = request.limit.saturating_sub(*used);
            let granted = if left < request.least {
                0
            } else {
                request.want.min(left)
            };
            *used += granted;
            Ok(QuotaLease {
                granted,
                used: *used,
            })
        })
    }

    fn give_back<'a>(
        &'a self,
        quota: &'a str,
        period_ms: i64,
        count: u64,
    ) -> BoxFuture<'a, Result<(), QuotaUnavailable>> {
        let mut all = self.used.lock();
        *all.get_mut(&(quota.to_owned(), period_ms)).unwrap() -= count;
        Box::pin(std::future::ready(Ok(())))
    }
}

fn limiter(rules: Vec<LimitConfig>, quotas: &Arc<Quotas>) -> Arc<Limiter> {
    let config = LimitsConfig {
        rule: rules,
        ..LimitsConfig::default()
    };
    Arc::new(Limiter::new(&config, quotas.clone()).unwrap())
}

fn caller(tenant: &str, name: &str) -> Caller {
    let principal = Principal::ApiKey(name.into());
    let identity = Identity::new(principal, tenant, Vec::new());
    Caller::known(Arc::new(identity), None)
}

fn named(name: &str) -> LimitConfig {
    LimitConfig {
        name: name.to_owned(),
        ..LimitConfig::default()
    }
}

fn limited_by(denied: Denied) -> LimitedBy {
    match denied {
        Denied::Limited(limited) => limited.by,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_tenant_has_a_burst_of_its_own() {
    let rule = LimitConfig {
        tenant: Some("*".to_owned()),
        requests_per_second: Some(0.001),
        burst_requests: Some(2),
        ..named("tenants")
    };
    let limiter = limiter(vec![rule], &Arc::default());
    for tenant in ["acme", "globex"] {
        for _ in 0..2 {
            assert!(
                limiter
                    .charge(&caller(tenant, "a"), "fraud")
                    .await
                    .unwrap()
                    .is_some()
            );
        }
        let denied = limiter
            .charge(&caller(tenant, "b"), "fraud")
            .await
            .unwrap_err();
        assert!(matches!(limited_by(denied), LimitedBy::Rate { .. }));
    }
    let of_no_tenant = limiter.charge(&caller("", "a"), "fraud").await.unwrap();
    assert!(
        of_no_tenant.is_some(),
        "those of no tenant are counted together"
    );
}

#[tokio::test]
async fn a_request_that_one_limit_refuses_uses_up_no_other() {
    let wide = LimitConfig {
        requests_per_day: Some(1000),
        ..named("wide")
    };
    let narrow = LimitConfig {
        endpoint: Some("fraud".to_owned()),
        requests_per_second: Some(0.001),
        burst_requests: Some(1),
        ..named("narrow")
    };
    let quotas = Arc::default();
    let limiter = limiter(vec![wide, narrow], &quotas);
    let shop = caller("", "shop");
    assert!(limiter.charge(&shop, "fraud").await.is_ok());
    for _ in 0..100 {
        assert!(limiter.charge(&shop, "fraud").await.is_err());
    }
    limiter.surrender_leases().await;
    assert_eq!(quotas.used(), 1);
}

#[tokio::test]
async fn places_in_work_are_given_back() {
    let rule = LimitConfig {
        max_in_flight: Some(1),
        ..named("work")
    };
    let limiter = limiter(vec![rule], &Arc::default());
    let shop = caller("", "shop");
    let first = limiter.charge(&shop, "fraud").await.unwrap();
    let denied = limiter.charge(&shop, "fraud").await.unwrap_err();
    assert_eq!(limited_by(denied), LimitedBy::InFlight);
    drop(first);
    assert!(limiter.charge(&shop, "fraud").await.is_ok());
}

#[tokio::test]
async fn rows_are_counted_and_refunded() {
    let rule = LimitConfig {
        rows_per_day: Some(100),
        requests_per_day: Some(10),
        ..named("rows")
    };
    let quotas = Arc::default();
    let limiter = limiter(vec![rule], &quotas);
    let shop = caller("", "shop");
    let mut charge = limiter.charge(&shop, "fraud").await.unwrap().unwrap();
    charge.add_rows(60).await.unwrap();
    let mut second = limiter.charge(&shop, "fraud").await.unwrap().unwrap();
    let denied = second.add_rows(60).await.unwrap_err();
    let told = denied.to_string();
    let wanted = "the request has 60 rows, and 40 of this day are left";
    assert!(told.contains(wanted), "{told}");
    assert!(matches!(
        limited_by(denied),
        LimitedBy::Quota { unit: "rows", .. }
    ));
    charge.refund();
    let mut third = limiter.charge(&shop, "fraud").await.unwrap().unwrap();
    third.add_rows(100).await.unwrap();
    limiter.surrender_leases().await;
    assert_eq!(
        quotas.used(),
        102,
        "two requests, one of them refused for its rows, and 100 rows"
    );
}

#[tokio::test]
async fn what_was_settled_is_not_given_back() {
    let rule = LimitConfig {
        requests_per_day: Some(10),
        ..named("calls")
    };
    let quotas = Arc::default();
    let limiter = limiter(vec![rule], &quotas);
    let shop = caller("", "shop");
    for settles in [true, false] {
        let mut charge = limiter.charge(&shop, "fraud").await.unwrap().unwrap();
        if settles {
            charge.settle();
        }
        charge.refund();
    }
    limiter.surrender_leases().await;
    assert_eq!(quotas.used(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_for_the_last_of_a_quota_has_one_winner() {
    let quotas: Arc<Quotas> = Arc::default();
    let rule = LimitConfig {
        requests_per_month: Some(1),
        ..named("last")
    };
    // Replicas, each with leases of its own.
    let limiters: Vec<_> = (0..4)
        .map(|_| limiter(vec![rule.clone()], &quotas))
        .collect();
    let asked = (0..64).map(|index| {
        let limiter = limiters[index % 4].clone();
        tokio::spawn(async move { limiter.charge(&caller("", "shop"), "fraud").await.is_ok() })
    });
    let mut admitted = 0;
    for one in asked.collect::<Vec<_>>() {
        admitted += usize::from(one.await.unwrap());
    }
    assert_eq!(admitted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_is_used_to_the_last_and_no_further() {
    let quotas: Arc<Quotas> = Arc::default();
    let rule = LimitConfig {
        requests_per_day: Some(5000),
        ..named("exact")
    };
    let limiters: Vec<_> = (0..4)
        .map(|_| limiter(vec![rule.clone()], &quotas))
        .collect();
    let mut tasks = Vec::new();
    for limiter in &limiters {
        let limiter = limiter.clone();
        tasks.push(tokio::spawn(async move {
            let mut admitted = 0;
            // Until all is used, with what others have not used up of their leases too.
            for _ in 0..2000 {
                admitted += usize::from(limiter.charge(&caller("", "shop"), "x").await.is_ok());
            }
            limiter.surrender_leases().await;
            admitted
        }));
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    assert_eq!(admitted as u64, quotas.used());
    assert!((4800..=5000).contains(&admitted), "{admitted}");
}

#[tokio::test]
async fn what_the_month_refuses_does_not_use_up_the_day() {
    let rule = LimitConfig {
        rows_per_day: Some(1000),
        rows_per_month: Some(10),
        ..named("both")
    };
    let quotas = Arc::default();
    let limiter = limiter(vec![rule], &quotas);
    let shop = caller("", "shop");
    for _ in 0..5 {
        let mut charge = limiter.charge(&shop, "fraud").await.unwrap().unwrap();
        let denied = charge.add_rows(500).await.unwrap_err();
        assert!(matches!(
            limited_by(denied),
            LimitedBy::Quota {
                period: "month",
                ..
            }
        ));
    }
    let mut charge = limiter.charge(&shop, "fraud").await.unwrap().unwrap();
    charge.add_rows(10).await.unwrap();
    limiter.surrender_leases().await;
    assert_eq!(quotas.used(), 20, "10 rows of the day and of the month");
}

#[tokio::test]
async fn a_request_that_does_not_fit_leaves_the_quota_to_others() {
    let rule = LimitConfig {
        rows_per_day: Some(1000),
        ..named("day")
    };
    let quotas: Arc<Quotas> = Arc::default();
    let replicas = [
        limiter(vec![rule.clone()], &quotas),
        limiter(vec![rule], &quotas),
    ];
    let shop = caller("", "shop");
    let mut large = replicas[0].charge(&shop, "fraud").await.unwrap().unwrap();
    assert!(large.add_rows(2000).await.is_err());
    let mut other = replicas[1].charge(&shop, "fraud").await.unwrap().unwrap();
    other.add_rows(900).await.unwrap();
}

#[tokio::test]
async fn while_the_database_is_away_requests_are_counted_later_or_refused() {
    let quotas: Arc<Quotas> = Arc::default();
    let rule = LimitConfig {
        requests_per_day: Some(100),
        ..named("day")
    };
    let allowing = limiter(vec![rule.clone()], &quotas);
    *quotas.is_away.lock() = true;
    let shop = caller("", "shop");
    for _ in 0..5 {
        assert!(allowing.charge(&shop, "fraud").await.is_ok());
    }
    let config = LimitsConfig {
        when_unavailable: WhenUnavailable::Refuse,
        rule: vec![rule],
        ..LimitsConfig::default()
    };
    let refusing = Arc::new(Limiter::new(&config, quotas.clone()).unwrap());
    let denied = refusing.charge(&shop, "fraud").await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(_)), "{denied:?}");
    *quotas.is_away.lock() = false;
    // At the end too, when the database is back and no request has noticed it.
    allowing.surrender_leases().await;
    assert_eq!(quotas.used(), 5);
}

#[test]
fn limits_that_limit_nothing_or_cannot_be_meant_are_refused() {
    let rate = |rate| LimitConfig {
        requests_per_second: Some(rate),
        ..named("a")
    };
    let wrong = [
        named("a"),
        named("A b"),
        rate(0.0),
        rate(1e-11),
        rate(f64::NAN),
        rate(f64::INFINITY),
        LimitConfig {
            burst_rows: Some(1),
            ..rate(1.0)
        },
        LimitConfig {
            requests_per_day: Some(0),
            ..named("a")
        },
    ];
    for limit in wrong {
        let config = LimitsConfig {
            rule: vec![limit.clone()],
            ..LimitsConfig::default()
        };
        assert!(
            Limiter::new(&config, Arc::<Quotas>::default()).is_err(),
            "{limit:?}"
        );
    }
    let twice = LimitsConfig {
        rule: vec![rate(1.0), rate(2.0)],
        ..LimitsConfig::default()
    };
    let refused = Limiter::new(&twice, Arc::<Quotas>::default()).unwrap_err();
    assert_eq!(refused, LimitError::Duplicate("a".to_owned()));
}

#[tokio::test]
async fn what_is_left_is_told() {
    let rule = LimitConfig {
        requests_per_second: Some(0.001),
        burst_requests: Some(10),
        max_in_flight: Some(4),
        ..named("shop")
    };
    let limiter = limiter(vec![rule], &Arc::default());
    let charge = limiter.charge(&caller("", "shop"), "fraud").await.unwrap();
    let status = charge.unwrap().status();
    let policy = r#""shop-requests";q=10;w=10000, "shop-in-flight";q=4;qu="concurrent-requests""#;
    assert_eq!(status.policy_header(), policy);
    let state = r#""shop-requests";r=9;t=1000, "shop-in-flight";r=3"#;
    assert_eq!(status.state_header(), state);
}
