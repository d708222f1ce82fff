//! ONNX: a node for each layer, with the standard's own operators.

use std::path::Path;
use std::slice::Iter;

use prost::Message as _;
use tch::{Kind, Tensor};

use super::Exported;
use super::onnx_messages::{
    Attribute, AttributeKind, Dimension, ElementKind, Graph, Length, Model, Node, OperatorSet, Shape,
    TensorKind, TensorMessage, ValueInfo, ValueKind,
};
use crate::layers::{BATCH_NORM_EPSILON, Bias, Conv, Layer};

const IR_VERSION: i64 = 8;
const OPERATOR_SET: i64 = 17;
const INPUT: &str = "z";
const OUTPUT: &str = "samples";

pub(super) fn write(generator: &Exported<'_>, path: &Path) -> Result<(), String> {
    std::fs::write(path, model(generator).encode_to_vec()).map_err(|error| error.to_string())
}

fn model(generator: &Exported<'_>) -> Model {
    let network = generator.network;
    let mut builder = Builder {
        weights: generator.weights.iter(),
        running: generator.running.iter(),
        nodes: vec![],
        initializers: vec![],
    };
    let start = match network.input.len() {
        1 => INPUT.to_owned(),
        _ => builder.reshape(INPUT, &network.input),
    };
    let last = builder.layers(&network.layers, start);
    builder.node("Identity", &[&last], vec![], OUTPUT);
    let shape = network.layers.iter().fold(network.input.clone(), |shape, layer| layer.output(&shape));
    let graph = Graph {
        name: network.name.to_owned(),
        input: vec![value(INPUT, &[network.input.iter().product()])],
        output: vec![value(OUTPUT, &shape)],
        node: builder.nodes,
        initializer: builder.initializers,
    };
    Model {
        ir_version: IR_VERSION,
        producer_name: "lsgan".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPERATOR_SET }],
    }
}

/// f32 `[n, shape]`.
fn value(name: &str, shape: &[i64]) -> ValueInfo {
    let lengths = [Length::Named("n".to_owned())].into_iter().chain(shape.iter().copied().map(Length::Fixed));
    let shape = Shape { dim: lengths.map(|length| Dimension { length: Some(length) }).collect() };
    let tensor = TensorKind { elem_type: ElementKind::Float.into(), shape: Some(shape) };
    ValueInfo { name: name.to_owned(), kind: Some(ValueKind { tensor: Some(tensor) }) }
}

/// Nodes and numbers so far. Layers take their tensors in the order of declaration.
struct Builder<'a> {
    weights: Iter<'a, Tensor>,
    running: Iter<'a, Tensor>,
    nodes: Vec<Node>,
    initializers: Vec<TensorMessage>,
}

impl Builder<'_> {
    /// Adds the layers behind the value `x`. Returns the name of their output.
    fn layers(&mut self, layers: &[Layer], x: String) -> String {
        layers.iter().fold(x, |x, layer| self.layer(layer, &x))
    }

    fn layer(&mut self, layer: &Layer, x: &str) -> String {
        match layer {
            Layer::Linear { .. } => {
                let [weight, bias] = [self.weight(), self.weight()];
                self.next("Gemm", &[x, &weight, &bias], vec![int("transB", 1)])
            }
            Layer::Embed { kept, classes, .. } => {
                let [none, all, axis] = [0, kept + classes, 1].map(|at| Tensor::from_slice(&[at]));
                let [none, all, axis] = [none, all, axis].map(|at| self.tensor(&at));
                let border = self.tensor(&Tensor::from_slice(&[*kept]));
                let z = self.next("Slice", &[x, &none, &border, &axis], vec![]);
                let told = self.next("Slice", &[x, &border, &all, &axis], vec![]);
                let weight = self.weight();
                let embedded = self.next("Gemm", &[&told, &weight], vec![int("transB", 1)]);
                self.next("Concat", &[&z, &embedded], vec![int("axis", 1)])
            }
            Layer::Concatenate { .. } => unreachable!("discriminators alone have it"),
            Layer::Conv(conv) => self.convolution("Conv", conv, x, vec![]),
            Layer::ConvTranspose { conv, output_padding } => self.convolution(
                "ConvTranspose",
                conv,
                x,
                vec![ints("output_padding", &[*output_padding; 2])],
            ),
            Layer::BatchNorm { .. } => {
                let [weight, bias] = [self.weight(), self.weight()];
                let [mean, variance] = [self.statistic(), self.statistic()];
                let epsilon = float("epsilon", BATCH_NORM_EPSILON as f32);
                self.next("BatchNormalization", &[x, &weight, &bias, &mean, &variance], vec![epsilon])
            }
            Layer::Relu => self.next("Relu", &[x], vec![]),
            Layer::LeakyRelu { slope } => self.next("LeakyRelu", &[x], vec![float("alpha", *slope as f32)]),
            Layer::Tanh => self.next("Tanh", &[x], vec![]),
            Layer::Upsample => {
                let scales = self.tensor(&Tensor::from_slice(&[1.0_f32, 1.0, 2.0, 2.0]));
                let nearest = [
                    word("mode", "nearest"),
                    word("coordinate_transformation_mode", "asymmetric"),
                    word("nearest_mode", "floor"),
                ];
                // Between them would be a region of interest, which this mode does not have.
                self.next("Resize", &[x, "", &scales], nearest.to_vec())
            }
            Layer::AveragePool => {
                let two = ["kernel_shape", "strides"].map(|name| ints(name, &[2, 2]));
                self.next("AveragePool", &[x], two.to_vec())
            }
            Layer::Residual(residual) => {
                let [block, shortcut] = residual.parts().map(|layers| self.layers(layers, x.to_owned()));
                self.next("Add", &[&block, &shortcut], vec![])
            }
            Layer::Unflatten { shape } => self.reshape(x, shape),
            Layer::Flatten => self.next("Flatten", &[x], vec![int("axis", 1)]),
        }
    }

    fn convolution(&mut self, operator: &str, conv: &Conv, x: &str, more: Vec<Attribute>) -> String {
        let weight = self.weight();
        let bias = (conv.bias == Bias::With).then(|| self.weight());
        let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias.as_deref()).collect();
        let attributes = [
            ints("kernel_shape", &[conv.kernel; 2]),
            ints("strides", &[conv.stride; 2]),
            ints("pads", &[conv.padding; 4]),
        ];
        self.next(operator, &inputs, attributes.into_iter().chain(more).collect())
    }

    /// `[n, …]` to `[n, shape]`.
    fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.tensor(&Tensor::from_slice(&[&[-1], shape].concat()));
        self.next("Reshape", &[x, &shape], vec![])
    }

    fn weight(&mut self) -> String {
        let tensor = self.weights.next().expect("every parameter has its tensor");
        self.tensor(tensor)
    }

    fn statistic(&mut self) -> String {
        let tensor = self.running.next().expect("every batch norm has statistics");
        self.tensor(tensor)
    }

    /// Adds numbers, f32 or i64.
    fn tensor(&mut self, tensor: &Tensor) -> String {
        let name = format!("numbers.{}", self.initializers.len());
        let row_major = tensor.contiguous();
        let mut raw_data = vec![0; row_major.numel() * row_major.kind().elt_size_in_bytes()];
        row_major.copy_data_u8(&mut raw_data, row_major.numel());
        let kind = if row_major.kind() == Kind::Float { ElementKind::Float } else { ElementKind::Int64 };
        let dims = row_major.size();
        self.initializers.push(TensorMessage { dims, data_type: kind.into(), name: name.clone(), raw_data });
        name
    }

    /// Adds a node. Returns the name of its output.
    fn next(&mut self, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = format!("value.{}", self.nodes.len());
        self.node(operator, inputs, attributes, &output);
        output
    }

    fn node(&mut self, operator: &str, inputs: &[&str], attribute: Vec<Attribute>, output: &str) {
        self.nodes.push(Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: format!("node.{}", self.nodes.len()),
            op_type: operator.to_owned(),
            attribute,
        });
    }
}

fn attribute(name: &str, kind: AttributeKind) -> Attribute {
    Attribute { name: name.to_owned(), kind: kind.into(), ..Attribute::default() }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { i: Some(i), ..attribute(name, AttributeKind::Int) }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { ints: ints.to_vec(), ..attribute(name, AttributeKind::Ints) }
}

fn float(name: &str, f: f32) -> Attribute {
    Attribute { f: Some(f), ..attribute(name, AttributeKind::Float) }
}

fn word(name: &str, text: &str) -> Attribute {
    Attribute { s: Some(text.as_bytes().to_vec()), ..attribute(name, AttributeKind::String) }
}
