use proptest::prelude::*;

use super::*;
use crate::cost::{Capacity, Ledger, PriceSheet, Prices, UsageInterval};

/// A server of 4 vCPUs and 16 GB runs for the whole of a day in November, which has 30 days. The
/// example of `docs/guides/cost.md`.
fn example(idle: IdleRule) -> Segment {
    let prices = Prices {
        vcpu_hour: 0.04,
        memory_gb_hour: 0.005,
        gpu_hour: 0.0,
        storage_gb_month: 0.09,
        network_gb: 0.1,
        licence_month: 30.0,
        monitoring_month: 15.0,
    };
    let sheet = PriceSheet {
        currency: "EUR".to_owned(),
        prices,
        idle,
    };
    let used = |model, version, vcpu_h: f64, gb: f64, network_gb, predictions| {
        let (vcpu_s, memory_gb_s) = (vcpu_h * 3600.0, gb * 86_400.0);
        let usage = Usage {
            vcpu_s,
            memory_gb_s,
            storage_gb_s: gb * 86_400.0,
            network_gb,
            predictions,
        };
        (CostKey::new(model, version, "default"), usage)
    };
    let step = UsageInterval {
        seconds: 86_400.0,
        capacity: Capacity {
            vcpus: 4.0,
            memory_gb: 16.0,
            gpus: 0.0,
        },
        used: vec![
            used("fraud", "7", 18.0, 1.0, 0.5, 2_000_000),
            used("fraud", "8", 6.0, 1.0, 0.0, 400_000),
            used("ranker", "2", 0.0, 2.0, 0.0, 0),
        ],
    };
    segment(&sheet, step)
}

fn segment(sheet: &PriceSheet, step: UsageInterval) -> Segment {
    let (mut ledger, day) = (Ledger::default(), november());
    ledger.add(day, sheet, step);
    let (_, segment) = ledger.between(day, day).next().unwrap();
    segment.clone()
}

fn november() -> Day {
    "2026-11-25".parse().unwrap()
}

fn cost(vcpu: i64, memory: i64, storage: i64, network: i64, idle: i64, fixed: i64) -> Cost {
    let [vcpu, memory, storage, network, idle, fixed] =
        [vcpu, memory, storage, network, idle, fixed].map(Micros);
    Cost {
        vcpu,
        memory,
        storage,
        network,
        idle,
        fixed,
    }
}

/// The bill, by hand: 4 × 24 × 0.04 = 3.84 for vCPUs, of which 24 hours, 0.96, are used; 16 × 24 ×
/// 0.005 = 1.92 for memory, of which 4 × 24 GB-hours, 0.48, are held; 4 GB × 0.09 / 30 = 0.012 for
/// files; 0.5 × 0.1 = 0.05 for the network; 45 / 30 = 1.5 fixed. Idle are 2.88 and 1.44.
#[test]
fn a_day_by_hand() {
    let bill = Bill::of(november(), &example(IdleRule::ByUse));
    assert_eq!(bill.total, Micros(7_322_000));
    let costs: Vec<Cost> = bill.shares.values().map(|(_, cost)| *cost).collect();
    // Three quarters, one quarter and nothing of 4.32 idle and 1.5 fixed.
    assert_eq!(
        costs[0],
        cost(720_000, 120_000, 3000, 50_000, 3_240_000, 1_125_000)
    );
    assert_eq!(
        costs[1],
        cost(240_000, 120_000, 3000, 0, 1_080_000, 375_000)
    );
    assert_eq!(costs[2], cost(0, 240_000, 6000, 0, 0, 0));
    assert_eq!(
        (bill.spent_on(Some("fraud")), bill.spent_on(None)),
        (Micros(7_076_000), bill.total)
    );
    assert_eq!(bill.spent_on(Some("frau")), Micros(0));
}

#[test]
fn idle_cost_can_stand_apart() {
    let bill = Bill::of(november(), &example(IdleRule::Apart));
    assert_eq!((bill.total, bill.shares.len()), (Micros(7_322_000), 4));
    assert_eq!(
        bill.shares[&CostKey::idle()].1,
        cost(0, 0, 0, 0, 4_320_000, 1_500_000)
    );
    assert_eq!(bill.spent_on(Some("ranker")), Micros(246_000));
}

#[test]
fn where_nothing_ran_memory_decides_and_where_nothing_was_loaded_nobody_bears_it() {
    let mut segment = example(IdleRule::ByUse);
    segment
        .used
        .values_mut()
        .for_each(|usage| usage.vcpu_s = 0.0);
    let bill = Bill::of(november(), &segment);
    let idle: Vec<i64> = bill.shares.values().map(|(_, cost)| cost.idle.0).collect();
    // 3.84 + 1.44 idle, by 1, 1 and 2 GB.
    assert_eq!(
        (bill.total, idle),
        (Micros(7_322_000), vec![1_320_000, 1_320_000, 2_640_000])
    );
    segment.used.clear();
    let bill = Bill::of(november(), &segment);
    assert_eq!(bill.total, Micros(7_260_000));
    assert_eq!(
        bill.shares[&CostKey::unallocated()].1,
        cost(0, 0, 0, 0, 5_760_000, 1_500_000)
    );
}

#[test]
fn more_than_there_is_cannot_be_used() {
    let mut segment = example(IdleRule::ByUse);
    segment
        .used
        .values_mut()
        .for_each(|usage| usage.vcpu_s *= 10.0);
    let bill = Bill::of(november(), &segment);
    let costs: Vec<Cost> = bill.shares.values().map(|(_, cost)| *cost).collect();
    assert_eq!(
        (bill.total, costs[0].vcpu, costs[1].vcpu),
        (Micros(7_322_000), Micros(2_880_000), Micros(960_000))
    );
}

#[test]
fn an_interval_costs_what_its_day_does() {
    let segment = example(IdleRule::ByUse);
    let used = segment
        .used
        .iter()
        .map(|(key, usage)| (key.clone(), *usage))
        .collect();
    let step = UsageInterval {
        seconds: 86_400.0,
        capacity: Capacity {
            vcpus: 4.0,
            memory_gb: 16.0,
            gpus: 0.0,
        },
        used,
    };
    let IntervalCost { used, idle, fixed } = IntervalCost::of(november(), &segment.sheet, &step);
    let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
    assert!(
        near(used[0], 0.893) && near(used[1], 0.363) && near(used[2], 0.246),
        "{used:?}"
    );
    assert!(near(idle, 4.32) && near(fixed, 1.5), "{idle} {fixed}");
}

fn usage() -> impl Strategy<Value = Usage> {
    let amounts = (
        0.0..1e6f64,
        0.0..1e6f64,
        0.0..1e6f64,
        0.0..1e3f64,
        any::<u32>(),
    );
    amounts.prop_map(
        |(vcpu_s, memory_gb_s, storage_gb_s, network_gb, predictions)| Usage {
            vcpu_s,
            memory_gb_s,
            storage_gb_s,
            network_gb,
            predictions: predictions.into(),
        },
    )
}

fn prices() -> impl Strategy<Value = Prices> {
    prop::array::uniform7(prop_oneof![Just(0.0), 0.0..10.0f64, 0.0..1e-4f64]).prop_map(|price| {
        Prices {
            vcpu_hour: price[0],
            memory_gb_hour: price[1],
            gpu_hour: price[2],
            storage_gb_month: price[3],
            network_gb: price[4],
            licence_month: price[5],
            monitoring_month: price[6],
        }
    })
}

proptest! {
    /// Whatever was used at whatever prices, what everybody bears is the bill, to the last
    /// millionth; and the bill is what floating-point numbers make of it, but for half a millionth
    /// for each of its parts.
    #[test]
    fn all_bear_the_bill_together(
        prices in prices(),
        is_apart in any::<bool>(),
        used in prop::collection::vec(usage(), 0..40),
        vcpus in 0.0..128.0f64,
        gpus in 0.0..8.0f64,
    ) {
        let idle = if is_apart { IdleRule::Apart } else { IdleRule::ByUse };
        let sheet = PriceSheet { currency: "EUR".to_owned(), prices, idle };
        let of = |(at, usage): (usize, &Usage)| (CostKey::new(&format!("m{at}"), "1", "default"), *usage);
        let capacity = Capacity { vcpus, memory_gb: 64.0, gpus };
        let step = UsageInterval { seconds: 86_400.0, capacity, used: used.iter().enumerate().map(of).collect() };
        let bill = Bill::of(november(), &segment(&sheet, step.clone()));
        prop_assert_eq!(bill.shares.values().map(|(_, cost)| cost.total()).sum::<Micros>(), bill.total);
        for (_, cost) in bill.shares.values() {
            let parts = [cost.vcpu, cost.memory, cost.storage, cost.network, cost.idle, cost.fixed];
            prop_assert!(parts.iter().all(|part| part.0 >= 0));
        }
        let now = IntervalCost::of(november(), &sheet, &step);
        let all = now.used.iter().sum::<f64>() + now.idle + now.fixed;
        prop_assert!((bill.total.units() - all).abs() < 5e-6 + all * 1e-12, "{} for {all}", bill.total);
        let sum = |of: fn(&Usage) -> f64| used.iter().map(of).sum::<f64>();
        let exact = 24.0 * (vcpus * prices.vcpu_hour + 64.0 * prices.memory_gb_hour + gpus * prices.gpu_hour)
            + sum(|usage| usage.storage_gb_s) / (30.0 * 86_400.0) * prices.storage_gb_month
            + sum(|usage| usage.network_gb) * prices.network_gb
            + (prices.licence_month + prices.monitoring_month) / 30.0;
        prop_assert!((bill.total.units() - exact).abs() < 5e-6 + exact * 1e-12, "{} for {exact}", bill.total);
    }
}
