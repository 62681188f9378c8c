//! What no schedule is shorter than; for some graphs it is the optimum. In milliseconds; a unit is a second.

use std::cmp::Reverse;

/// Trees of tasks that take one unit each: the optimum. For in-trees it is T. C. Hu's ("Parallel Sequencing and Assembly
/// Line Problems", Operations Research 9(6), 1961); an out-tree is an in-tree backwards in time.
pub(super) fn highest_level_first(upstream: &[Vec<usize>], workers: u32) -> i64 {
    let is_in_tree = fan_out(upstream).iter().all(|&count| count <= 1);
    let levels = if is_in_tree { levels(upstream) } else { depths(upstream) };
    let deepest = levels.iter().copied().max().unwrap_or_default();
    // The tasks above a level, on all workers; then the path from that level on.
    let units = (0..=deepest).map(|level| {
        let above = levels.iter().filter(|other| **other > level).count();
        level + above.div_ceil(workers as usize)
    });
    1000 * i64::try_from(units.max().unwrap_or_default()).unwrap()
}

fn fan_out(upstream: &[Vec<usize>]) -> Vec<usize> {
    let mut counts = vec![0; upstream.len()];
    upstream.iter().flatten().for_each(|&task| counts[task] += 1);
    counts
}

/// Of each task, the tasks of the longest path that ends with it.
fn depths(upstream: &[Vec<usize>]) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(upstream.len());
    for upstream in upstream {
        depths.push(1 + upstream.iter().map(|&task| depths[task]).max().unwrap_or_default());
    }
    depths
}

/// Of each task, the tasks of the longest path that begins with it.
fn levels(upstream: &[Vec<usize>]) -> Vec<usize> {
    let mut levels = vec![1; upstream.len()];
    for (task, upstream) in upstream.iter().enumerate().rev() {
        for &other in upstream {
            levels[other] = levels[other].max(levels[task] + 1);
        }
    }
    levels
}

/// Two workers and tasks that take one unit each: the optimum, by E. G. Coffman and R. L. Graham, "Optimal Scheduling for
/// Two-Processor Systems", Acta Informatica 1(3), 1972.
pub(super) fn two_workers(upstream: &[Vec<usize>]) -> i64 {
    let downstream = reduced_downstream(upstream);
    let labels = labels(upstream, &downstream);
    let mut waits: Vec<usize> = vec![0; upstream.len()];
    downstream.iter().flatten().for_each(|&task| waits[task] += 1);
    let mut ready: Vec<usize> = (0..upstream.len()).filter(|&task| waits[task] == 0).collect();
    let mut units = 0;
    while !ready.is_empty() {
        units += 1;
        ready.sort_by_key(|&task| Reverse(labels[task]));
        let started: Vec<usize> = ready.drain(..ready.len().min(2)).collect();
        for next in started.iter().flat_map(|&task| &downstream[task]) {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                ready.push(*next);
            }
        }
    }
    1000 * units
}

/// The edges that do not follow from others.
fn reduced_downstream(upstream: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let count = upstream.len();
    let mut reaches = vec![vec![false; count]; count];
    let mut downstream = vec![Vec::new(); count];
    for task in 0..count {
        let follows = |other: usize| upstream[task].iter().any(|&between| reaches[other][between]);
        let edges: Vec<usize> = upstream[task].iter().copied().filter(|&other| !follows(other)).collect();
        edges.into_iter().for_each(|other| downstream[other].push(task));
        for reach in &mut reaches[..task] {
            reach[task] = upstream[task].iter().any(|&between| reach[between]);
        }
        for &other in &upstream[task] {
            reaches[other][task] = true;
        }
    }
    downstream
}

/// From the ends on: of the tasks whose successors all have labels, the next label goes to the one whose successors'
/// labels, from the greatest on, come first as words do.
fn labels(upstream: &[Vec<usize>], downstream: &[Vec<usize>]) -> Vec<usize> {
    let mut labels = vec![0; upstream.len()];
    for label in 1..=upstream.len() {
        let successors = |task: usize| {
            let mut labels: Vec<usize> = downstream[task].iter().map(|&next| labels[next]).collect();
            labels.sort_unstable_by_key(|&label| Reverse(label));
            labels
        };
        let is_free =
            |task: &usize| labels[*task] == 0 && downstream[*task].iter().all(|&next| labels[next] > 0);
        let next = (0..upstream.len()).filter(is_free).min_by_key(|&task| successors(task)).unwrap();
        labels[next] = label;
    }
    labels
}

/// For all pairs of an earliest start and a least remainder: the tasks that start no earlier and after which no less
/// remains, on all workers in between.
pub(super) fn bound_of_windows(millis: &[i64], upstream: &[Vec<usize>], workers: u32) -> i64 {
    let (mut heads, mut tails) = (vec![0; millis.len()], vec![0; millis.len()]);
    for (task, upstream) in upstream.iter().enumerate() {
        heads[task] = upstream.iter().map(|&other| heads[other] + millis[other]).max().unwrap_or_default();
    }
    for (task, upstream) in upstream.iter().enumerate().rev() {
        for &other in upstream {
            tails[other] = tails[other].max(tails[task] + millis[task]);
        }
    }
    let path = (0..millis.len()).map(|task| heads[task] + millis[task] + tails[task]).max();
    let mut bound = path.unwrap_or_default();
    let mut by_tail: Vec<usize> = (0..millis.len()).collect();
    by_tail.sort_by_key(|&task| Reverse(tails[task]));
    for &head in &heads {
        let mut work = 0;
        for &task in by_tail.iter().filter(|&&task| heads[task] >= head) {
            work += millis[task];
            let workers = i64::from(workers);
            bound = bound.max(head + (work + workers - 1) / workers + tails[task]);
        }
    }
    bound
}
