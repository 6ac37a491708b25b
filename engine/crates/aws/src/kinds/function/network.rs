//! A function's connection to a VPC.
//!
//! **Invariant:** subnets and security groups are sets, so their order is never a change.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aws_sdk_lambda::types::{FunctionConfiguration, VpcConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::schema::{Problem, Property, Shape, Text, property};
use crate::value::{Path, Tree, Value};

use super::Props;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Vpc {
    subnet_ids: BTreeSet<String>,
    security_group_ids: BTreeSet<String>,
    ipv6_allowed_for_dual_stack: bool,
}

pub(super) const VPC: &str = "vpc";
const SUBNETS: &str = "subnet_ids";
const GROUPS: &str = "security_group_ids";

/// docs.aws.amazon.com/lambda/latest/api/API_VpcConfig.html; AWS documents a length for neither.
static SUBNET: LazyLock<Text> = LazyLock::new(|| {
    Text::new(8..=1024, "the ID of a subnet (`subnet-0123456789abcdef0`)", |text| is_id(text, "subnet-"))
});
static GROUP: LazyLock<Text> = LazyLock::new(|| {
    Text::new(4..=1024, "the ID of a security group (`sg-0123456789abcdef0`)", |text| is_id(text, "sg-"))
});

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// At most 16 subnets and 5 security groups
/// (docs.aws.amazon.com/lambda/latest/api/API_VpcConfig.html).
pub(super) fn vpc() -> Property {
    let set = |item: &Text, max| Shape::Set { item: Box::new(Shape::Text(item.clone())), max };
    let members = vec![
        property(SUBNETS, set(&SUBNET, 16), "IDs of the subnets").required(),
        property(GROUPS, set(&GROUP, 5), "IDs of the security groups of its network interfaces").required(),
        property(
            "ipv6_allowed_for_dual_stack",
            Shape::Bool,
            "allow outgoing IPv6 traffic in subnets that have both IPv4 and IPv6",
        )
        .default(false),
    ];
    property(VPC, Shape::Record(members), "the VPC that its code can reach; without it, only the internet")
        .member("VpcConfig")
        .equivalent(is_same)
}

/// Whether both are the same sets: references are put in order before their values are known.
fn is_same(have: &Value, want: &Value) -> bool {
    let read = |value: &Value| serde_json::from_value::<Vpc>(Json::from(value)).ok();
    let are_known = matches!((have, want), (Value::Map(_), Value::Map(_))) && !want.has_unknown();
    are_known && read(have).is_some_and(|have| Some(have) == read(want))
}

/// Lambda refuses subnets without security groups, and the reverse
/// (docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html).
pub(super) fn problems(desired: &Tree) -> Vec<Problem> {
    let Some(Value::Map(vpc)) = desired.get(VPC) else { return Vec::new() };
    let is_empty = |name: &&str| matches!(vpc.get(*name), Some(Value::List(ids)) if ids.is_empty());
    let problem = |name: &str| {
        let hint = format!("add at least one ID to `{name}`, or remove `{VPC}` to run the function outside of a VPC");
        let why = "a function in a VPC needs at least one subnet and at least one security group";
        Problem::error(Path::property(VPC).key(name), format!("`{name}` is empty"), hint).why(why)
    };
    [SUBNETS, GROUPS].into_iter().filter(is_empty).map(problem).collect()
}

/// The VPC in a response. A function that left its VPC has empty lists
/// (docs.aws.amazon.com/lambda/latest/api/API_VpcConfigResponse.html).
pub(super) fn of(config: &FunctionConfiguration) -> Option<Vpc> {
    let vpc = config.vpc_config()?;
    let ids = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
    let vpc = Vpc {
        subnet_ids: ids(vpc.subnet_ids()),
        security_group_ids: ids(vpc.security_group_ids()),
        ipv6_allowed_for_dual_stack: vpc.ipv6_allowed_for_dual_stack().unwrap_or_default(),
    };
    (!vpc.subnet_ids.is_empty() || !vpc.security_group_ids.is_empty()).then_some(vpc)
}

/// Empty lists remove the function from its VPC
/// (docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html).
pub(super) fn request(props: &Props) -> VpcConfig {
    let vpc = props.vpc.clone().unwrap_or_default();
    VpcConfig::builder()
        .set_subnet_ids(Some(vpc.subnet_ids.into_iter().collect()))
        .set_security_group_ids(Some(vpc.security_group_ids.into_iter().collect()))
        .ipv6_allowed_for_dual_stack(vpc.ipv6_allowed_for_dual_stack)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_subnets_is_no_change() {
        let vpc = |subnets: [&str; 2]| {
            Value::from(serde_json::json!({ SUBNETS: subnets, GROUPS: ["sg-1"], "ipv6_allowed_for_dual_stack": false }))
        };
        assert!(is_same(&vpc(["subnet-1", "subnet-2"]), &vpc(["subnet-2", "subnet-1"])));
        assert!(!is_same(&vpc(["subnet-1", "subnet-2"]), &vpc(["subnet-1", "subnet-3"])));
        assert!(!is_same(&Value::Null, &vpc(["subnet-1", "subnet-2"])));
    }

    #[test]
    fn a_function_that_left_its_vpc_has_none() {
        use aws_sdk_lambda::types::VpcConfigResponse;
        let left = VpcConfigResponse::builder().set_subnet_ids(Some(Vec::new())).vpc_id("").build();
        assert_eq!(of(&FunctionConfiguration::builder().vpc_config(left).build()), None);
        let within = VpcConfigResponse::builder().subnet_ids("subnet-1").security_group_ids("sg-1").build();
        assert!(of(&FunctionConfiguration::builder().vpc_config(within).build()).is_some());
    }
}
