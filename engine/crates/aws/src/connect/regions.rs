//! Compares the core's partition table with the SDK's endpoint rules.

use aws_sdk_iam::config::endpoint as iam;
use aws_sdk_iam::config::endpoint::ResolveEndpoint as _;
use aws_sdk_lambda::config::endpoint as lambda;
use aws_sdk_lambda::config::endpoint::ResolveEndpoint as _;

use crate::schema::{PARTITIONS, is_region, partition_of};

/// The hosts of Lambda and IAM in a region, as the SDK resolves them.
async fn hosts(region: &str) -> (String, String) {
    let params = lambda::Params::builder().region(region).build().expect("a region is enough");
    let of_lambda = lambda::DefaultResolver::new().resolve_endpoint(&params).await.expect("a regional endpoint");
    let params = iam::Params::builder().region(region).build().expect("a region is enough");
    let of_iam = iam::DefaultResolver::new().resolve_endpoint(&params).await.expect("the partition's endpoint");
    let host = |url: &str| url.trim_start_matches("https://").to_owned();
    (host(of_lambda.url()), host(of_iam.url()))
}

#[tokio::test]
async fn the_table_matches_the_sdk_for_known_and_future_regions() {
    let mut compared = 0;
    for partition in &PARTITIONS {
        let prefix = if partition.prefix.is_empty() { "eu-" } else { partition.prefix };
        let future = [format!("{prefix}north-9"), format!("{prefix}southwest-12")];
        for region in partition.regions.iter().map(|it| (*it).to_owned()).chain(future) {
            assert!(is_region(&region), "{region}");
            assert_eq!(partition_of(&region).name, partition.name, "{region}");
            let (host, iam) = hosts(&region).await;
            assert_eq!(host, format!("lambda.{region}.{}", partition.dns_suffix), "{region}");
            // These two share a domain, and each has its own IAM endpoint.
            match partition.name {
                "aws" => assert_eq!(iam, "iam.amazonaws.com", "{region}"),
                "aws-us-gov" => assert_eq!(iam, "iam.us-gov.amazonaws.com", "{region}"),
                _ => assert!(iam.ends_with(&format!(".{}", partition.dns_suffix)), "{region}: {iam}"),
            }
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}
