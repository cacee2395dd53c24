//! Does the works.

use roam::Rx;

use crate::services::{RoamRecord, Workplace, credit_64, credit_256};

#[derive(Clone)]
pub struct Worker;

impl Workplace for Worker {
    async fn add(&self, left: u32, right: u32) -> u32 {
        left + right
    }

    async fn add_or_wait(&self, left: u32, right: u32) -> u32 {
        left + right // every call has a task in Rust, whether it waits or not
    }

    async fn take_16(&self, items: Rx<u64>) -> (u64, u64) {
        receive(items).await
    }

    async fn take(&self, items: credit_64::Rx<u64>) -> (u64, u64) {
        receive(items).await
    }

    async fn take_many(&self, items: credit_64::Rx<u64>) -> (u64, u64) {
        receive(items).await
    }

    async fn give(&self, count: u64, items: credit_256::Tx<u64>) {
        for number in 0..count {
            if items.send(number).await.is_err() {
                break;
            }
        }
    }

    async fn give_back(
        &self,
        mut items: credit_64::Rx<u64>,
        back: credit_256::Tx<u64>,
    ) {
        while let Ok(Some(item)) = items.recv().await {
            if back.send(*item).await.is_err() {
                break;
            }
        }
    }

    async fn echo(&self, data: Vec<u8>) -> Vec<u8> {
        data
    }

    async fn swap(&self, records: Vec<RoamRecord>) -> Vec<RoamRecord> {
        records
    }
}

/// How many have come, and `mix` of `benchmarks/adapters/base.py` over all of them.
async fn receive<const N: usize>(mut items: Rx<u64, N>) -> (u64, u64) {
    let (mut count, mut checksum) = (0, 0_u64);
    while let Ok(Some(item)) = items.recv().await {
        count += 1;
        checksum = checksum.wrapping_mul(31).wrapping_add(*item);
    }
    (count, checksum)
}
