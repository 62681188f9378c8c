//! Where a graph's tasks stand: in layers from left to right, ordered so that few edges cross.
//!
//! After K. Sugiyama, S. Tagawa and M. Toda, "Methods for Visual Understanding of Hierarchical System
//! Structures", IEEE Transactions on Systems, Man, and Cybernetics 11(2), 1981: a task's layer is the longest
//! path to it, an edge that passes layers has a bend in each of them, and layers are ordered by barycentres.

/// How often the layers are ordered by their neighbours, to the right and back.
const SWEEPS: usize = 8;

/// How often positions are drawn towards their neighbours.
const PULLS: usize = 12;

/// With more bends than this, edges are drawn straight: a picture so full is not looked at for its edges.
const MOST_BENDS: usize = 100_000;

/// The height that a bend takes, where a task takes 1.
const BEND: f64 = 0.35;

/// A graph with a place for each task.
#[derive(Debug)]
pub(super) struct Layout {
    /// Each task's layer and its middle, in heights of tasks.
    pub(super) places: Vec<Place>,
    /// Each edge: its tasks, and the places that it passes between them.
    pub(super) edges: Vec<(usize, usize, Vec<Place>)>,
    /// How many layers there are.
    pub(super) layers: usize,
    /// How many heights of tasks there are.
    pub(super) height: f64,
}

/// A place in a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) y: f64,
}

/// Tasks and bends on their way to a place.
struct Nodes {
    layer: Vec<usize>,
    /// How much height each takes.
    size: Vec<f64>,
    left: Vec<Vec<usize>>,
    right: Vec<Vec<usize>>,
}

impl Layout {
    /// Of so many tasks, with edges from which no cycle comes.
    pub(super) fn new(count: usize, edges: &[(usize, usize)]) -> Self {
        let mut nodes = Nodes::of(count, edges);
        let chains: Vec<Vec<usize>> = nodes.connect(edges);
        let mut layers = nodes.layers();
        nodes.order(&mut layers);
        let y = nodes.positions(&layers);
        let place = |&node: &usize| Place { layer: nodes.layer[node], y: y[node] };
        Self {
            places: (0..count).map(|task| place(&task)).collect(),
            edges: edges
                .iter()
                .zip(&chains)
                .map(|(&(from, to), bends)| (from, to, bends.iter().map(place).collect()))
                .collect(),
            layers: layers.len(),
            height: y.iter().zip(&nodes.size).map(|(y, size)| y + size / 2.0).fold(0.0, f64::max),
        }
    }
}

impl Nodes {
    /// The tasks, each in the layer of the longest path to it.
    fn of(count: usize, edges: &[(usize, usize)]) -> Self {
        let (mut layer, mut left, mut after) =
            (vec![0; count], vec![0_usize; count], vec![Vec::new(); count]);
        for &(from, to) in edges {
            left[to] += 1;
            after[from].push(to);
        }
        let mut open: Vec<usize> = (0..count).filter(|&task| left[task] == 0).collect();
        while let Some(task) = open.pop() {
            for &next in &after[task] {
                layer[next] = layer[next].max(layer[task] + 1);
                left[next] -= 1;
                if left[next] == 0 {
                    open.push(next);
                }
            }
        }
        Self { layer, size: vec![1.0; count], left: vec![Vec::new(); count], right: vec![Vec::new(); count] }
    }

    /// Adds the edges, with their bends, which are returned for each.
    fn connect(&mut self, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let length = |&(from, to): &(usize, usize)| self.layer[to] - self.layer[from] - 1;
        let bent = edges.iter().map(length).sum::<usize>() <= MOST_BENDS;
        edges
            .iter()
            .map(|&(from, to)| {
                let passed = if bent { self.layer[from] + 1..self.layer[to] } else { 0..0 };
                let bends: Vec<usize> = passed.map(|layer| self.bend(layer)).collect();
                let chain = [&[from], bends.as_slice(), &[to]].concat();
                for pair in chain.windows(2) {
                    self.right[pair[0]].push(pair[1]);
                    self.left[pair[1]].push(pair[0]);
                }
                bends
            })
            .collect()
    }

    fn bend(&mut self, layer: usize) -> usize {
        self.layer.push(layer);
        self.size.push(BEND);
        self.left.push(Vec::new());
        self.right.push(Vec::new());
        self.layer.len() - 1
    }

    /// The nodes of each layer, tasks before bends.
    fn layers(&self) -> Vec<Vec<usize>> {
        let count = self.layer.iter().max().map_or(0, |last| last + 1);
        let mut layers = vec![Vec::new(); count];
        for (node, &layer) in self.layer.iter().enumerate() {
            layers[layer].push(node);
        }
        layers
    }

    /// Orders each layer by the barycentres of its neighbours, there and back, and keeps the best order.
    fn order(&self, layers: &mut Vec<Vec<usize>>) {
        let mut rank = vec![0; self.layer.len()];
        let mut best = (usize::MAX, layers.clone());
        for sweep in 0..=SWEEPS {
            number(layers, &mut rank);
            let crossings = self.crossings(layers, &rank);
            if crossings < best.0 {
                best = (crossings, layers.clone());
            }
            if best.0 == 0 {
                break;
            }
            if sweep % 2 == 0 {
                layers.iter_mut().for_each(|layer| sort(layer, &self.left, &mut rank));
            } else {
                layers.iter_mut().rev().for_each(|layer| sort(layer, &self.right, &mut rank));
            }
        }
        *layers = best.1;
    }

    /// How many pairs of edges cross between neighbouring layers.
    fn crossings(&self, layers: &[Vec<usize>], rank: &[usize]) -> usize {
        let mut crossings = 0;
        for pair in layers.windows(2) {
            let mut seen = Counts::new(pair[1].len());
            for &node in &pair[0] {
                let mut ends: Vec<usize> = self.right[node].iter().map(|&to| rank[to]).collect();
                // Straight edges that pass layers are not counted.
                ends.retain(|&end| end < pair[1].len());
                crossings += ends.iter().map(|&end| seen.above(end)).sum::<usize>();
                ends.iter().for_each(|&end| seen.add(end));
            }
        }
        crossings
    }

    /// Draws all nodes towards their neighbours without changing their order.
    fn positions(&self, layers: &[Vec<usize>]) -> Vec<f64> {
        let mut y = vec![0.0; self.layer.len()];
        for layer in layers {
            self.settle(layer, &mut y, |_, _| 0.0);
        }
        for pull in 0..PULLS {
            let towards = |node: usize, y: &[f64]| {
                let both = self.left[node].iter().chain(&self.right[node]);
                mean(both.map(|&other| y[other])).unwrap_or(y[node])
            };
            if pull % 2 == 0 {
                layers.iter().for_each(|layer| self.settle(layer, &mut y, towards));
            } else {
                layers.iter().rev().for_each(|layer| self.settle(layer, &mut y, towards));
            }
        }
        let top = y.iter().zip(&self.size).map(|(y, size)| y - size / 2.0).fold(f64::INFINITY, f64::min);
        y.iter_mut().for_each(|y| *y -= top);
        y
    }

    /// Puts a layer's nodes as near to where they want to be as their order and their sizes allow: the least
    /// squares of a monotonic sequence, found by pooling adjacent violators.
    fn settle(&self, layer: &[usize], y: &mut [f64], wanted: impl Fn(usize, &[f64]) -> f64) {
        let mut offsets = Vec::with_capacity(layer.len());
        let mut edge = 0.0;
        for &node in layer {
            offsets.push(edge + self.size[node] / 2.0);
            edge += self.size[node];
        }
        // Each pool: the mean of what its nodes want, and how many they are.
        let mut pools: Vec<(f64, f64)> = Vec::with_capacity(layer.len());
        for (&node, offset) in layer.iter().zip(&offsets) {
            let mut pool = (wanted(node, y) - offset, 1.0);
            while let Some(above) = pools.pop_if(|above| above.0 >= pool.0) {
                let count = above.1 + pool.1;
                pool = ((above.0 * above.1 + pool.0 * pool.1) / count, count);
            }
            pools.push(pool);
        }
        let mut places = layer.iter().zip(&offsets);
        for (at, count) in pools {
            let mut left = count;
            while left > 0.5 {
                if let Some((&node, offset)) = places.next() {
                    y[node] = at + offset;
                }
                left -= 1.0;
            }
        }
    }
}

/// Writes each node's place in its layer.
fn number(layers: &[Vec<usize>], rank: &mut [usize]) {
    for layer in layers {
        for (place, &node) in layer.iter().enumerate() {
            rank[node] = place;
        }
    }
}

/// Orders a layer by its neighbours' mean place; a node without any stays where it is.
#[expect(clippy::cast_precision_loss, reason = "places in a layer are small")]
fn sort(layer: &mut [usize], neighbours: &[Vec<usize>], rank: &mut [usize]) {
    let mut keyed: Vec<(f64, usize)> = layer
        .iter()
        .map(|&node| {
            let barycentre = mean(neighbours[node].iter().map(|&other| rank[other] as f64));
            (barycentre.unwrap_or(rank[node] as f64), node)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (place, (_, node)) in keyed.into_iter().enumerate() {
        layer[place] = node;
        rank[node] = place;
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then_some(sum / count)
}

/// Counts by place, so that those beyond a place are found fast: a Fenwick tree.
struct Counts {
    tree: Vec<usize>,
    total: usize,
}

impl Counts {
    fn new(places: usize) -> Self {
        Self { tree: vec![0; places + 1], total: 0 }
    }

    fn add(&mut self, place: usize) {
        self.total += 1;
        let mut at = place + 1;
        while at < self.tree.len() {
            self.tree[at] += 1;
            at += at & at.wrapping_neg();
        }
    }

    /// How many are at places after this one.
    fn above(&self, place: usize) -> usize {
        let (mut at, mut up_to) = (place + 1, 0);
        while at > 0 {
            up_to += self.tree[at];
            at -= at & at.wrapping_neg();
        }
        self.total - up_to
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::dag;

    fn layout(tasks: &[(&str, &[&str])]) -> Layout {
        let (_, graph) = dag(tasks);
        let edges =
            graph.tasks().flat_map(|task| graph.upstream(task).map(move |from| (from.get(), task.get())));
        Layout::new(graph.len(), &edges.collect::<Vec<_>>())
    }

    #[test]
    fn an_edge_goes_to_the_right_and_bends_in_every_layer_it_passes() {
        let layout = layout(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["c", "a"])]);
        let layers: Vec<usize> = layout.places.iter().map(|place| place.layer).collect();
        assert_eq!(layers, [0, 1, 2, 3]);
        let long = layout.edges.iter().find(|(from, to, _)| (*from, *to) == (0, 3)).unwrap();
        assert_eq!(long.2.iter().map(|place| place.layer).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn edges_that_need_not_cross_do_not() {
        let layout = layout(&[("a", &[]), ("b", &[]), ("x", &["b"]), ("y", &["a"])]);
        let y = |task: usize| layout.places[task].y;
        assert_eq!(y(0) < y(1), y(3) < y(2));
    }

    #[test]
    fn tasks_of_one_layer_do_not_overlap_and_a_parent_is_centred() {
        let layout = layout(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["a"])]);
        let mut ys: Vec<f64> = layout.places[1..].iter().map(|place| place.y).collect();
        ys.sort_by(f64::total_cmp);
        assert!(ys.windows(2).all(|pair| pair[1] - pair[0] >= 1.0 - 1e-9), "{ys:?}");
        assert!((layout.places[0].y - ys[1]).abs() < 0.05, "{} {ys:?}", layout.places[0].y);
        assert!((layout.height - 3.0).abs() < 0.05, "{}", layout.height);
    }

    #[test]
    fn crossings_are_counted() {
        let mut counts = Counts::new(4);
        [3, 0, 2].into_iter().for_each(|place| counts.add(place));
        assert_eq!([0, 1, 2, 3].map(|place| counts.above(place)), [2, 2, 1, 0]);
    }
}
