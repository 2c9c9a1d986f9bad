//! From the fleet to the rules of a relay. Asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use medmesh_api_types::fleet::Nodes;
use medmesh_base::ControlId;
use serde::Serialize;

/// The last line of a whole file.
const END: &str = "end";

/// Host and port of whatever a control node is reached at.
pub(super) type Places = BTreeMap<ControlId, Vec<(String, u16)>>;

/// The rules that follow from a fleet.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct List {
    /// The edges' media sockets.
    pub(super) allow: Vec<Rule>,
    /// The control nodes.
    pub(super) deny: Vec<Rule>,
    /// Edges that have not said where their media goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<String>,
    /// Hosts of control nodes whose names mean nothing on this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unresolved: Vec<String>,
}

/// A rule and whom it is about.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    /// As relays read it.
    pub(super) rule: String,
    /// The edge or the control node.
    pub(super) of: String,
    /// Whether it is what an earlier file said of an edge that does not report.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) kept: bool,
}

/// Where each control node is reached.
pub(super) fn places(nodes: &Nodes) -> Places {
    let of = |link: &str, url: Option<&str>| {
        let http = url.and_then(|url| {
            let (scheme, rest) = url.split_once("://")?;
            let authority = rest.split(['/', '?', '#']).next()?;
            host_and_port(authority, if scheme == "https" { 443 } else { 80 })
        });
        host_and_port(link, 0).into_iter().chain(http).collect()
    };
    let controls = nodes.controls.iter();
    controls
        .map(|node| (node.id, of(&node.link_address, node.http_url.as_deref())))
        .collect()
}

fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default),
    };
    let host = host
        .strip_prefix('[')
        .map_or(host, |host| host.trim_end_matches(']'));
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// The rules. `resolved` has the addresses of every host of `places`; `before` is the file they go to.
pub(super) fn list(
    nodes: &Nodes,
    places: &Places,
    resolved: &BTreeMap<String, Vec<IpAddr>>,
    before: &str,
) -> List {
    let mut list = List::default();
    let kept = kept(before);
    for edge in &nodes.edges {
        let said = edge.report.as_ref().map_or(&[][..], |report| &report.media);
        let known = kept.get(edge.name.as_str()).map_or(&[][..], Vec::as_slice);
        let said = said.iter().map(|rule| (rule.as_str(), false));
        let mut rules: Vec<(&str, bool)> = said.collect();
        if rules.is_empty() {
            rules = known.iter().map(|rule| (*rule, true)).collect();
        }
        if rules.is_empty() {
            list.unknown.push(edge.name.clone());
        }
        list.allow.extend(rules.into_iter().map(|(rule, kept)| Rule {
            rule: rule.to_owned(),
            of: edge.name.clone(),
            kept,
        }));
    }
    let media: BTreeSet<IpAddr> = list.allow.iter().filter_map(|rule| address(&rule.rule)).collect();
    for (node, hosts) in places {
        let mut rules = BTreeSet::new();
        for (host, port) in hosts {
            let addresses = resolved.get(host).map_or(&[][..], Vec::as_slice);
            if addresses.is_empty() && !list.unresolved.contains(host) {
                list.unresolved.push(host.clone());
            }
            // Whole machines, but for one that carries media as well.
            rules.extend(addresses.iter().map(|ip| match media.contains(ip) {
                true => SocketAddr::new(*ip, *port).to_string(),
                false => ip.to_string(),
            }));
        }
        let of = node.to_string();
        list.deny.extend(rules.into_iter().map(|rule| Rule {
            rule,
            of: of.clone(),
            kept: false,
        }));
    }
    list
}

/// The address of a rule for media.
fn address(rule: &str) -> Option<IpAddr> {
    let (first, _) = rule.rsplit_once('-')?;
    Some(first.parse::<SocketAddr>().ok()?.ip())
}

/// What a file that this program wrote says of each edge; nothing of one that is not whole.
fn kept(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut kept: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    if text.lines().last() != Some(END) {
        return kept;
    }
    for line in text.lines() {
        let rule = line.strip_prefix("allow ");
        let Some((rule, edge)) = rule.and_then(|rule| rule.split_once("  # edge ")) else {
            continue;
        };
        let edge = edge.split(',').next().unwrap_or(edge);
        if address(rule).is_some() {
            kept.entry(edge).or_default().push(rule);
        }
    }
    kept
}

impl List {
    /// The file: no time in it, so that the same fleet gives the same bytes.
    pub(super) fn text(&self) -> String {
        let mut text =
            "# Written by `medmesh relay peers`: what is changed here by hand is lost.\n".to_owned();
        for rule in &self.allow {
            let silent = if rule.kept { ", which does not report" } else { "" };
            let _ = writeln!(text, "allow {}  # edge {}{silent}", rule.rule, rule.of);
        }
        for rule in &self.deny {
            let _ = writeln!(text, "deny {}  # control node {}", rule.rule, rule.of);
        }
        for remark in self.remarks() {
            let _ = writeln!(text, "# {remark}");
        }
        text + END + "\n"
    }

    /// What whoever asked should know.
    pub(super) fn remarks(&self) -> Vec<String> {
        let unknown = self.unknown.iter();
        let unknown = unknown.map(|edge| format!("edge {edge} has not said where its media goes: left out"));
        let unresolved = self.unresolved.iter();
        let unresolved = unresolved.map(|host| format!("{host} means nothing here: not denied"));
        unknown.chain(unresolved).collect()
    }
}
