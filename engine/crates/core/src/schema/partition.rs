//! AWS partitions, each with its own ARNs, domain and regions.
//!
//! **Invariant:** only data. AWS adds regions, so these lists don't restrict specs.

/// One partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name in ARNs.
    pub name: &'static str,
    /// The unique prefix of its region names.
    pub prefix: &'static str,
    /// The domain of its endpoints.
    pub dns_suffix: &'static str,
    /// Its known regions.
    pub regions: &'static [&'static str],
}

/// All known partitions, from the table in every AWS SDK
/// (github.com/boto/botocore/blob/develop/botocore/data/partitions.json). A test compares it with
/// the Rust SDK's table, which is not public.
pub const PARTITIONS: [Partition; 8] = [
    Partition {
        name: "aws",
        prefix: "",
        dns_suffix: "amazonaws.com",
        regions: &[
            "af-south-1",
            "ap-east-1",
            "ap-east-2",
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "ap-south-1",
            "ap-south-2",
            "ap-southeast-1",
            "ap-southeast-2",
            "ap-southeast-3",
            "ap-southeast-4",
            "ap-southeast-5",
            "ap-southeast-6",
            "ap-southeast-7",
            "ca-central-1",
            "ca-west-1",
            "eu-central-1",
            "eu-central-2",
            "eu-north-1",
            "eu-south-1",
            "eu-south-2",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "il-central-1",
            "me-central-1",
            "me-south-1",
            "mx-central-1",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ],
    },
    Partition {
        name: "aws-cn",
        prefix: "cn-",
        dns_suffix: "amazonaws.com.cn",
        regions: &["cn-north-1", "cn-northwest-1"],
    },
    Partition { name: "aws-eusc", prefix: "eusc-de-", dns_suffix: "amazonaws.eu", regions: &["eusc-de-east-1"] },
    Partition {
        name: "aws-iso",
        prefix: "us-iso-",
        dns_suffix: "c2s.ic.gov",
        regions: &["us-iso-east-1", "us-iso-west-1"],
    },
    Partition {
        name: "aws-iso-b",
        prefix: "us-isob-",
        dns_suffix: "sc2s.sgov.gov",
        regions: &["us-isob-east-1", "us-isob-west-1"],
    },
    Partition { name: "aws-iso-e", prefix: "eu-isoe-", dns_suffix: "cloud.adc-e.uk", regions: &["eu-isoe-west-1"] },
    Partition {
        name: "aws-iso-f",
        prefix: "us-isof-",
        dns_suffix: "csp.hci.ic.gov",
        regions: &["us-isof-east-1", "us-isof-south-1"],
    },
    Partition {
        name: "aws-us-gov",
        prefix: "us-gov-",
        dns_suffix: "amazonaws.com",
        regions: &["us-gov-east-1", "us-gov-west-1"],
    },
];

/// The partition of a region. Like the SDKs, it assumes `aws` for unknown regions without a known
/// prefix.
pub fn partition_of(region: &str) -> &'static Partition {
    let [usual, others @ ..] = &PARTITIONS;
    others.iter().find(|partition| region.starts_with(partition.prefix)).unwrap_or(usual)
}

/// The known regions, those of `aws` first.
pub fn regions() -> impl Iterator<Item = &'static str> + Clone {
    PARTITIONS.iter().flat_map(|partition| partition.regions).copied()
}

/// Whether it is in [`regions`].
pub fn is_known_region(text: &str) -> bool {
    regions().any(|region| region == text)
}

/// Whether it looks like a region name: words and a number separated by dashes, as in the SDKs'
/// patterns.
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [words @ .., number] = parts.as_slice() else { return false };
    let lower = |word: &&str| word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    words.len() >= 2 && words.iter().all(lower) && is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_region_names_are_rejected() {
        for text in
            ["", "Frankfurt", "EU-CENTRAL-1", "eu-central-1a", "eu-central", "eu-1", "eu--central-1", "eu-central-123"]
        {
            assert!(!is_region(text), "{text}");
        }
    }
}
