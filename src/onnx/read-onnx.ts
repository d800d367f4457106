/** Reads ONNX protobuf bytes back into plain records, for tests and inspection of models that heed wrote. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { DataError } from '../core/errors.ts';
import { allocate, byteWidth } from '../core/host-tensor.ts';
import { type DType, sizeOf } from '../core/shapes.ts';
import type { OnnxAttribute } from '../graph/lowering.ts';
import {
  attributeTypes,
  elementTypes,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxValue,
} from './model.ts';

/** Reads one field and returns true, or returns false to have it skipped. */
type FieldReader = (field: number, wire: WireType) => boolean;

/**
 * Decodes a `ModelProto` with static shapes and raw initializer data.
 *
 * @throws DataError when the bytes are not such a model.
 */
export function readOnnx(bytes: Uint8Array): OnnxModel {
  const graph = { name: '', nodes: [], inputs: [], outputs: [], initializers: [] } as MutableGraph;
  const opsets: Record<string, number> = {};
  let irVersion = 0;
  let producer = '';
  const reader = new BinaryReader(bytes);
  try {
    readFields(reader, bytes.length, (field) => {
      if (field === 1) irVersion = Number(reader.int64());
      else if (field === 2) producer = reader.string();
      else if (field === 7) readGraph(reader, graph);
      else if (field === 8) {
        let domain = '';
        let version = 0;
        readMessage(reader, (inner) => {
          if (inner === 1) domain = reader.string();
          else if (inner === 2) version = Number(reader.int64());
          else return false;
          return true;
        });
        opsets[domain] = version;
      } else return false;
      return true;
    });
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw new DataError({
      where: 'readOnnx',
      expected: 'ONNX protobuf bytes',
      received: `${bytes.length} bytes that do not decode`,
      fix: 'Check that the file is complete and is an .onnx model',
      cause,
    });
  }
  return { irVersion, producer, opsets, ...graph };
}

interface MutableGraph {
  name: string;
  readonly nodes: OnnxNode[];
  readonly inputs: OnnxValue[];
  readonly outputs: OnnxValue[];
  readonly initializers: OnnxInitializer[];
}

function readGraph(reader: BinaryReader, graph: MutableGraph): void {
  readMessage(reader, (field) => {
    if (field === 1) graph.nodes.push(readNode(reader));
    else if (field === 2) graph.name = reader.string();
    else if (field === 5) graph.initializers.push(readInitializer(reader));
    else if (field === 11) graph.inputs.push(readValue(reader));
    else if (field === 12) graph.outputs.push(readValue(reader));
    else return false;
    return true;
  });
}

function readNode(reader: BinaryReader): OnnxNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes: Record<string, OnnxAttribute> = {};
  let [name, opType, domain] = ['', '', ''];
  readMessage(reader, (field) => {
    if (field === 1) inputs.push(reader.string());
    else if (field === 2) outputs.push(reader.string());
    else if (field === 3) name = reader.string();
    else if (field === 4) opType = reader.string();
    else if (field === 5) {
      const [key, attribute] = readAttribute(reader);
      attributes[key] = attribute;
    } else if (field === 7) domain = reader.string();
    else return false;
    return true;
  });
  return { name, opType, domain, inputs, outputs, attributes };
}

function readAttribute(reader: BinaryReader): [string, OnnxAttribute] {
  let [name, string, type, float, int] = ['', '', 0, 0, 0];
  const floats: number[] = [];
  const ints: number[] = [];
  readMessage(reader, (field, wire) => {
    if (field === 1) name = reader.string();
    else if (field === 2) float = reader.float();
    else if (field === 3) int = Number(reader.int64());
    else if (field === 4) string = reader.string();
    else if (field === 7) readRepeated(reader, wire, () => floats.push(reader.float()));
    else if (field === 8) readRepeated(reader, wire, () => ints.push(Number(reader.int64())));
    else if (field === 20) type = reader.int32();
    else return false;
    return true;
  });
  switch (type) {
    case attributeTypes.float:
      return [name, { float }];
    case attributeTypes.int:
      return [name, { int }];
    case attributeTypes.string:
      return [name, { string }];
    case attributeTypes.floats:
      return [name, { floats }];
    case attributeTypes.ints:
      return [name, { ints }];
    default:
      throw new DataError({
        where: `readOnnx(attribute ${name})`,
        expected: 'a number, a string or a list of numbers',
        received: `attribute type ${type}`,
      });
  }
}

function readInitializer(reader: BinaryReader): OnnxInitializer {
  const shape: number[] = [];
  let [name, elementType, external] = ['', 0, false];
  let raw: Uint8Array = new Uint8Array(0);
  readMessage(reader, (field, wire) => {
    if (field === 1) readRepeated(reader, wire, () => shape.push(Number(reader.int64())));
    else if (field === 2) elementType = reader.int32();
    else if (field === 8) name = reader.string();
    else if (field === 9) raw = reader.bytes();
    else if (field === 14) external = reader.int32() === 1;
    else return false;
    return true;
  });
  const dtype = dtypeOfElement(name, elementType);
  if (external) return { name, dtype, shape };
  if (raw.byteLength !== sizeOf(shape) * byteWidth(dtype)) {
    throw new DataError({
      where: `readOnnx(initializer ${name})`,
      expected: `${sizeOf(shape) * byteWidth(dtype)} bytes of raw data`,
      received: `${raw.byteLength} bytes`,
    });
  }
  const data = allocate(dtype, sizeOf(shape));
  new Uint8Array(data.buffer).set(raw);
  return { name, dtype, shape, data };
}

function readValue(reader: BinaryReader): OnnxValue {
  const shape: number[] = [];
  let [name, elementType] = ['', 0];
  const readDimension: FieldReader = (field) => {
    if (field !== 1) return false;
    shape.push(Number(reader.int64()));
    return true;
  };
  const readShape: FieldReader = (field) => {
    if (field !== 1) return false;
    readMessage(reader, readDimension);
    return true;
  };
  const readTensorType: FieldReader = (field) => {
    if (field === 1) elementType = reader.int32();
    else if (field === 2) readMessage(reader, readShape);
    else return false;
    return true;
  };
  const readType: FieldReader = (field) => {
    if (field !== 1) return false;
    readMessage(reader, readTensorType);
    return true;
  };
  readMessage(reader, (field) => {
    if (field === 1) name = reader.string();
    else if (field === 2) readMessage(reader, readType);
    else return false;
    return true;
  });
  return { name, dtype: dtypeOfElement(name, elementType), shape };
}

function dtypeOfElement(name: string, elementType: number): DType {
  const found = (Object.keys(elementTypes) as DType[]).find((dtype) => elementTypes[dtype] === elementType);
  if (found !== undefined) return found;
  throw new DataError({
    where: `readOnnx(${name})`,
    expected: `an element type among ${Object.keys(elementTypes).join(', ')}`,
    received: `TensorProto.DataType ${elementType}`,
  });
}

/** Reads a length-delimited message at the cursor. */
function readMessage(reader: BinaryReader, read: FieldReader): void {
  const length = reader.uint32();
  readFields(reader, reader.pos + length, read);
}

function readFields(reader: BinaryReader, end: number, read: FieldReader): void {
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    if (!read(field, wire)) reader.skip(wire, field);
  }
}

/** Repeated numbers come packed in one block or one by one. */
function readRepeated(reader: BinaryReader, wire: WireType, readOne: () => void): void {
  if (wire !== WireType.LengthDelimited) {
    readOne();
    return;
  }
  const end = reader.uint32() + reader.pos;
  while (reader.pos < end) readOne();
}
