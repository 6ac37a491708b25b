//! The network interfaces that Lambda created with a role, for functions in a VPC. Lambda removes
//! them with the role some time after the functions are deleted
//! (docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html).
//!
//! EC2 has hundreds of operations, and this is the only one that engine uses, so it is called
//! without EC2's SDK.
//!
//! **Invariant:** it only reads.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use crate::aws::rights::{Decision, decide};
use crate::aws::{AwsError, Code, Context, Input, Protocol, UntypedService, Wait};
use crate::operation::Service;
use crate::schema::Id;

/// docs.aws.amazon.com/AWSEC2/latest/APIReference
const EC2: UntypedService =
    UntypedService { service: Service::EC2, id: "EC2", protocol: Protocol::Query("2016-11-15") };

/// The permission with which Lambda removes them.
const REMOVE: &str = "ec2:DeleteNetworkInterface";
/// AWS's policies that contain it for functions
/// (docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html).
const MANAGED: [&str; 2] = ["/AWSLambdaVPCAccessExecutionRole", "/AWSLambdaENIManagementAccess"];

const OPERATION: &str = "DescribeNetworkInterfaces";

const REMOVED: Wait = Wait {
    what: "Lambda to remove its network interfaces",
    reason: "Lambda needs the role for that, 5 to 45 minutes after it deletes a function in a VPC",
    inspect_cmd: "aws ec2 describe-network-interfaces --filters Name=interface-type,Values=lambda",
    limit: None,
    budget: Duration::from_secs(60),
};

/// Whether Lambda may have created network interfaces with a role that has these policies; engine's
/// own one is `None` if it can't be read.
pub(super) fn may_have(attached: &[String], engine: Option<&Json>) -> bool {
    let removes = |document: &Json| {
        let document = utf8_percent_encode(&document.to_string(), NON_ALPHANUMERIC).to_string();
        decide(&[document], &(REMOVE.into(), "*".to_owned())) != Decision::NotAllowed
    };
    attached.iter().any(|arn| MANAGED.iter().any(|name| arn.ends_with(name))) || engine.is_none_or(removes)
}

/// Waits until Lambda has removed all network interfaces that it created with a role.
///
/// # Errors
/// `WaitOverdue` after a minute: the caller must keep the role.
pub(super) async fn await_removal(cx: &Context, role: &str, id: &str) -> Result<(), AwsError> {
    let are_removed = || async { Ok(of_role(cx, id).await?.is_empty().then_some(())) };
    cx.until(REMOVED, role, are_removed).await
}

/// Whether Lambda may have interfaces that it created with the role of this ID: also if they can't be
/// read.
///
/// # Errors
/// They can't be read for another reason.
pub(super) async fn may_exist(cx: &Context, role: &Id, id: Option<&str>) -> Result<bool, AwsError> {
    let Some(id) = id else { return Ok(true) };
    match cx.read(&role.name, || of_role(cx, id)).await {
        Err(error) if error.unreadable().is_some() => Ok(true),
        found => Ok(!found?.is_empty()),
    }
}

/// The interfaces that Lambda created with the role that has this ID: it is part of the ID of
/// their requester, `AROAEXAMPLE:…`.
async fn of_role(cx: &Context, id: &str) -> Result<Vec<String>, AwsError> {
    let requester = format!("{id}:");
    let filter = [("Filter.1.Name", "requester-id".to_owned()), ("Filter.1.Value.1", format!("{requester}*"))];
    let body = EC2.call(&cx.aws.sdk, OPERATION, "", Input::Form(filter.to_vec())).await?;
    let found = interfaces(&body).ok_or_else(|| {
        AwsError::own(Code::NotAws, OPERATION, "", "the response doesn't have the form that AWS documents")
    })?;
    Ok(found.into_iter().filter(|(_, it)| it.starts_with(&requester)).map(|(interface, _)| interface).collect())
}

/// The interfaces in a response with their requesters.
fn interfaces(body: &str) -> Option<Vec<(String, String)>> {
    if !body.contains("<networkInterfaceSet") {
        return None;
    }
    // The ID is the first element of an interface, and its only one with that name.
    let found = body.split("<networkInterfaceId>").skip(1).map(|interface| {
        let id = interface.split('<').next().unwrap_or_default().to_owned();
        (id, element(interface, "requesterId").unwrap_or_default().to_owned())
    });
    Some(found.collect())
}

/// The text of the first element with this name.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split('<').next()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_role_with_the_permission_can_have_interfaces() {
        let policy =
            |action: &str| json!({ "Statement": [{ "Effect": "Allow", "Action": [action], "Resource": "*" }] });
        for (action, may) in [("logs:*", false), (REMOVE, true), ("ec2:Delete*", true), ("*", true)] {
            assert_eq!(may_have(&[], Some(&policy(action))), may, "{action}");
        }
        assert!(may_have(&[], None), "it can't be read");
        let managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole".to_owned();
        assert!(may_have(&[managed], Some(&policy("logs:*"))));
    }

    #[test]
    fn interfaces_are_read_with_their_requesters() {
        let interface = |id: &str, requester: &str| {
            format!(
                "<item><networkInterfaceId>{id}</networkInterfaceId><subnetId>subnet-1</subnetId>\
                 <requesterId>{requester}</requesterId><privateIpAddressesSet><item/></privateIpAddressesSet></item>"
            )
        };
        let body = format!(
            "<DescribeNetworkInterfacesResponse><networkInterfaceSet>{}{}</networkInterfaceSet>\
             </DescribeNetworkInterfacesResponse>",
            interface("eni-1", "AROA1:123456789012"),
            interface("eni-2", "AROA2:123456789012"),
        );
        let pair = |id: &str, requester: &str| (id.to_owned(), requester.to_owned());
        let found = interfaces(&body).unwrap();
        assert_eq!(found, [pair("eni-1", "AROA1:123456789012"), pair("eni-2", "AROA2:123456789012")]);
        assert_eq!(interfaces("<html/>"), None);
    }
}
