/** An ONNX model as plain records, and its protobuf encoding (field numbers of onnx.proto3, IR version 10). */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { HostTensor } from '../core/host-tensor.ts';
import type { DType } from '../core/shapes.ts';
import type { OnnxAttribute } from '../graph/lowering.ts';
import type { TensorType } from '../graph/tensor.ts';

/** A named graph input or output. */
export interface OnnxValue extends TensorType {
  readonly name: string;
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
export const elementTypes: Readonly<Record<DType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9 };

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

function writeInitializer(writer: BinaryWriter, { name, dtype, shape, data }: OnnxInitializer): void {
  packedInts(writer, 1, shape);
  writer.tag(2, WireType.Varint).int32(elementTypes[dtype]);
  text(writer, 8, name);
  if (data === undefined) {
    message(writer, 13, () => {
      text(writer, 1, 'location');
      text(writer, 2, name);
    });
    writer.tag(14, WireType.Varint).int32(1);
  } else {
    writer
      .tag(9, WireType.LengthDelimited)
      .bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

function writeValue(writer: BinaryWriter, { name, dtype, shape }: OnnxValue): void {
  text(writer, 1, name);
  message(writer, 2, () =>
    message(writer, 1, () => {
      writer.tag(1, WireType.Varint).int32(elementTypes[dtype]);
      // Written even when empty: a type without a shape means an unknown rank, not a scalar.
      message(writer, 2, () => {
        for (const dimension of shape) {
          message(writer, 1, () => writer.tag(1, WireType.Varint).int64(dimension));
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
