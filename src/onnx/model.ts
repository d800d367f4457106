/** An ONNX model as plain records, and its protobuf encoding (field numbers of onnx.proto3, IR version 10). */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { HostTensor } from '../core/host-tensor.ts';
import type { DType } from '../core/shapes.ts';
import type { OnnxAttribute } from '../graph/lowering.ts';
import type { TensorType } from '../graph/tensor.ts';

/** A named graph input or output. */
export interface OnnxValue extends TensorType {
  readonly name: string;
  /** The shape as it is written, where a dimension has a name instead of a size; `shape` when left out. */
  readonly dimensions?: readonly (number | string)[];
}

export interface OnnxNode {
  readonly name: string;
  readonly opType: string;
  /** '' is the standard domain. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** A constant of the model. Without `data` it is external: only its name and type are in the file. */
export interface OnnxInitializer extends OnnxValue {
  readonly data?: HostTensor['data'];
  /** Where an external one is: the file beside the model, and the bytes in it. Left out: a file of its name. */
  readonly external?: { readonly location: string; readonly offset: number; readonly length: number };
}

export interface OnnxModel {
  readonly name: string;
  readonly irVersion: number;
  readonly producer: string;
  /** Version per operator domain. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly OnnxInitializer[];
}

/** TensorProto.DataType of each dtype. */
export const elementTypes: Readonly<Record<DType, number>> = {
  ...{ float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9 },
};

/** AttributeProto.AttributeType. */
export const attributeTypes = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const;

/**
 * Encodes a model as ONNX protobuf bytes. Initializers without data become external references whose location is their name.
 *
 * @returns bytes of a `ModelProto`; the same model gives the same bytes.
 * @source onnx/onnx.proto3 of ONNX 1.16 (field numbers)
 */
export function encodeOnnx(model: OnnxModel): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(model.irVersion);
  text(writer, 2, model.producer);
  message(writer, 7, () => writeGraph(writer, model));
  for (const [domain, version] of Object.entries(model.opsets)) {
    message(writer, 8, () => {
      text(writer, 1, domain);
      writer.tag(2, WireType.Varint).int64(version);
    });
  }
  return writer.finish();
}

function writeGraph(writer: BinaryWriter, model: OnnxModel): void {
  for (const node of model.nodes) message(writer, 1, () => writeNode(writer, node));
  text(writer, 2, model.name);
  for (const initializer of model.initializers)
    message(writer, 5, () => writeInitializer(writer, initializer));
  for (const value of model.inputs) message(writer, 11, () => writeValue(writer, value));
  for (const value of model.outputs) message(writer, 12, () => writeValue(writer, value));
}

function writeNode(writer: BinaryWriter, node: OnnxNode): void {
  // An empty name is an optional input left out, so it is written even though it is the default.
  for (const name of node.inputs) writer.tag(1, WireType.LengthDelimited).string(name);
  for (const name of node.outputs) writer.tag(2, WireType.LengthDelimited).string(name);
  text(writer, 3, node.name);
  text(writer, 4, node.opType);
  for (const [name, attribute] of Object.entries(node.attributes)) {
    message(writer, 5, () => writeAttribute(writer, name, attribute));
  }
  if (node.domain !== '') text(writer, 7, node.domain);
}

function writeAttribute(writer: BinaryWriter, name: string, attribute: OnnxAttribute): void {
  text(writer, 1, name);
  let type: number;
  if ('float' in attribute) {
    type = attributeTypes.float;
    writer.tag(2, WireType.Bit32).float(attribute.float);
  } else if ('int' in attribute) {
    type = attributeTypes.int;
    writer.tag(3, WireType.Varint).int64(attribute.int);
  } else if ('string' in attribute) {
    type = attributeTypes.string;
    text(writer, 4, attribute.string);
  } else if ('floats' in attribute) {
    type = attributeTypes.floats;
    message(writer, 7, () => {
      for (const value of attribute.floats) writer.float(value);
    });
  } else {
    type = attributeTypes.ints;
    packedInts(writer, 8, attribute.ints);
  }
  writer.tag(20, WireType.Varint).int32(type);
}

/**
 * The bytes of `encodeOnnx` piece by piece, without copies of the initializers' data: for files of models.
 *
 * @example for (const piece of onnxPieces(model)) writeSync(descriptor, piece);
 */
export function* onnxPieces(model: OnnxModel): Generator<Uint8Array> {
  const { initializers } = model;
  const head = new BinaryWriter();
  head.tag(1, WireType.Varint).int64(model.irVersion);
  text(head, 2, model.producer);
  for (const [domain, version] of Object.entries(model.opsets)) {
    message(head, 8, () => {
      text(head, 1, domain);
      head.tag(2, WireType.Varint).int64(version);
    });
  }
  const graph = new BinaryWriter();
  writeGraph(graph, { ...model, initializers: [] });
  const body = graph.finish();
  // Each initializer is a message that ends with its raw data: its head names the lengths of both.
  const parts = initializers.map(({ data, ...rest }) => {
    const fields = new BinaryWriter();
    if (data === undefined) writeInitializer(fields, rest);
    else {
      writeInitializerType(fields, rest);
      fields.tag(9, WireType.LengthDelimited).uint32(data.byteLength);
    }
    const own = fields.finish();
    const raw =
      data === undefined ? undefined : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const size = own.length + (raw?.length ?? 0);
    const lead = new BinaryWriter().tag(5, WireType.LengthDelimited).uint32(size).finish();
    return { lead, own, raw, size: lead.length + size };
  });
  const total = parts.reduce((sum, { size }) => sum + size, body.length);
  head.tag(7, WireType.LengthDelimited).uint32(total);
  yield head.finish();
  yield body;
  for (const { lead, own, raw } of parts) {
    yield lead;
    yield own;
    if (raw !== undefined) yield raw;
  }
}

function writeInitializerType(
  writer: BinaryWriter,
  { name, dtype, shape }: Pick<OnnxInitializer, 'name' | 'dtype' | 'shape'>,
): void {
  packedInts(writer, 1, shape);
  writer.tag(2, WireType.Varint).int32(elementTypes[dtype]);
  text(writer, 8, name);
}

function writeInitializer(
  writer: BinaryWriter,
  { name, dtype, shape, data, external }: OnnxInitializer,
): void {
  writeInitializerType(writer, { name, dtype, shape });
  if (data === undefined) {
    for (const [key, value] of Object.entries(external ?? { location: name })) {
      message(writer, 13, () => {
        text(writer, 1, key);
        text(writer, 2, String(value));
      });
    }
    writer.tag(14, WireType.Varint).int32(1);
  } else {
    writer
      .tag(9, WireType.LengthDelimited)
      .bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

function writeValue(writer: BinaryWriter, { name, dtype, shape, dimensions = shape }: OnnxValue): void {
  text(writer, 1, name);
  message(writer, 2, () =>
    message(writer, 1, () => {
      writer.tag(1, WireType.Varint).int32(elementTypes[dtype]);
      // Written even when empty: a type without a shape means an unknown rank, not a scalar.
      message(writer, 2, () => {
        for (const dimension of dimensions) {
          message(writer, 1, () => {
            if (typeof dimension === 'number') writer.tag(1, WireType.Varint).int64(dimension);
            else text(writer, 2, dimension);
          });
        }
      });
    }),
  );
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function packedInts(writer: BinaryWriter, field: number, values: readonly number[]): void {
  if (values.length === 0) return;
  message(writer, field, () => {
    for (const value of values) writer.int64(value);
  });
}

function message(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}
