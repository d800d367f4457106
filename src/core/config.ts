/**
 * The one schema of a command: a strict zod object whose described fields are at once the keys of its YAML file, its
 * flags, its environment variables, its types and its documentation.
 *
 * @example
 * export const config = z.strictObject({
 *   ...section('Optimizer', {
 *     learningRate: field(z.number().positive().default(5e-5)).describe('peak step size of AdamW'),
 *   }),
 *   beta: field(z.number().min(0).default(0.1)).describe('temperature of the DPO loss; 1 / nats, as in the paper'),
 * });
 */
import { z } from 'zod';
import { ConfigError } from './errors.ts';
import { foldName } from './suggest.ts';

/** Schema of a command or method. Make it with `z.strictObject`, so that its type also rejects unknown keys. */
export type ConfigSchema = z.ZodObject;

/** The resolved configuration of a schema: defaults filled in, nothing optional that has a default. */
export type ConfigOf<S extends z.ZodType> = z.output<S>;

/** What zod does not know about a field. */
export interface FieldOptions {
  /** Heading in help and docs; default: that of `section`, else `Options`. */
  readonly group?: string;
  /** Other names that are read as this key, for example those of TRL (`num_train_epochs`). Any spelling. */
  readonly aliases?: readonly string[];
  /** Word for the value in help, for example `file`; default: from the type. */
  readonly placeholder?: string;
  /** A key or password: its value is never printed, nor written to a file. */
  readonly secret?: boolean;
}

// Our own registry, not zod's global one, keeps these out of the JSON Schema.
const fieldOptions = z.registry<FieldOptions>();

/** Marks a schema as a field of a configuration. Follow it with `.describe('meaning, unit, whose default')`. */
export function field<S extends z.ZodType>(schema: S, options: FieldOptions = {}): S {
  const copy = schema.clone();
  fieldOptions.add(copy, { ...fieldOptions.get(schema), ...options });
  return copy;
}

/** Puts fields that have no group of their own under one heading. */
export function section<Fields extends Record<string, z.ZodType>>(group: string, fields: Fields): Fields {
  const grouped: Record<string, z.ZodType> = {};
  for (const [key, schema] of Object.entries(fields))
    grouped[key] = field(schema, { group, ...optionsOf(schema) });
  return grouped as Fields;
}

/** One key of a configuration: what help, docs, flags and the environment need to know. */
export interface ConfigField {
  /** Path in the YAML file, for example `lora.rank`. */
  readonly key: string;
  readonly path: readonly string[];
  /** `--lora.rank` */
  readonly flag: string;
  /** `HEED_LORA_RANK` */
  readonly env: string;
  readonly aliases: readonly string[];
  /** For people: `number ≥ 0`, `linear | cosine`, `integer ≥ 1`. */
  readonly type: string;
  readonly placeholder: string;
  readonly isBoolean: boolean;
  readonly isList: boolean;
  readonly isSecret: boolean;
  readonly required: boolean;
  /** undefined when there is none. */
  readonly default: unknown;
  /** Empty when the author left it out. */
  readonly description: string;
  readonly group: string;
  readonly schema: z.ZodType;
}

/** Every key of a schema in its order, nested objects spelled out. Throws `ConfigError` when two keys cannot be told apart. */
export function describeConfig(schema: ConfigSchema): ConfigField[] {
  const fields = describeObject(schema, [], 'Options');
  const seen = new Map<string, string>();
  for (const { key, path, aliases } of fields) {
    for (const name of [path.join(''), ...aliases].map(foldName)) {
      const other = seen.get(name);
      if (other !== undefined) {
        throw new ConfigError({
          where: `config schema (${key})`,
          expected: 'keys that differ in more than dots, dashes, underscores and case',
          received: `${key} and ${other}`,
          fix: 'Rename one of them or drop the alias',
        });
      }
      seen.set(name, key);
    }
  }
  return fields;
}

/** JSON Schema (2020-12) of what a configuration file may hold, for editors. */
export function configJsonSchema(schema: ConfigSchema): Record<string, unknown> {
  return z.toJSONSchema(schema, { io: 'input' });
}

/** The fields of an object schema, when the schema is one below its default and optional wrappers. */
export function objectShape(schema: z.ZodType): Readonly<Record<string, z.ZodType>> | undefined {
  const inner = unwrap(schema);
  return inner instanceof z.ZodObject ? (inner.shape as Record<string, z.ZodType>) : undefined;
}

/** Strips defaults, optionals, nullables and the output side of transforms: the schema of what a user writes. */
export function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema;
  for (;;) {
    const next = wrapped(inner);
    if (next === undefined) return inner;
    inner = next;
  }
}

function wrapped(schema: z.ZodType): z.ZodType | undefined {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly
  ) {
    return schema.def.innerType as z.ZodType;
  }
  if (schema instanceof z.ZodPipe) return schema.def.in as z.ZodType;
  return undefined;
}

function describeObject(schema: z.ZodType, parents: readonly string[], group: string): ConfigField[] {
  return Object.entries(objectShape(schema) ?? {}).flatMap(([name, child]) => {
    const path = [...parents, name];
    const options = optionsOf(child);
    const ownGroup = options.group ?? group;
    if (objectShape(child) !== undefined) return describeObject(child, path, ownGroup);
    const inner = unwrap(child);
    return {
      key: path.join('.'),
      path,
      flag: `--${path.map(kebab).join('.')}`,
      env: `HEED_${path.map((part) => kebab(part).replaceAll('-', '_').toUpperCase()).join('_')}`,
      aliases: options.aliases ?? [],
      type: typeText(child),
      placeholder: options.placeholder ?? placeholderOf(inner),
      isBoolean: inner instanceof z.ZodBoolean,
      isList: isListSchema(inner),
      isSecret: options.secret === true,
      required: !child.safeParse(undefined).success,
      default: defaultOf(child),
      description: descriptionOf(child),
      group: ownGroup,
      schema: child,
    };
  });
}

/** A list, or a list that may be written as its only item. */
function isListSchema(schema: z.ZodType): boolean {
  return schema instanceof z.ZodUnion
    ? schema.options[0] instanceof z.ZodArray
    : schema instanceof z.ZodArray;
}

/** `learningRate` → `learning-rate`. */
function kebab(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replaceAll('_', '-')
    .toLowerCase();
}

function optionsOf(schema: z.ZodType): FieldOptions {
  for (let inner: z.ZodType | undefined = schema; inner !== undefined; inner = wrapped(inner)) {
    const options = fieldOptions.get(inner);
    if (options !== undefined) return options;
  }
  return {};
}

function descriptionOf(schema: z.ZodType): string {
  for (let inner: z.ZodType | undefined = schema; inner !== undefined; inner = wrapped(inner)) {
    if (inner.description !== undefined) return inner.description;
  }
  return '';
}

function defaultOf(schema: z.ZodType): unknown {
  for (let inner: z.ZodType | undefined = schema; inner !== undefined; inner = wrapped(inner)) {
    if (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) return inner.def.defaultValue;
  }
  return undefined;
}

/** The type of a field as a reader of an error or of help needs it. */
export function typeText(schema: z.ZodType): string {
  const inner = unwrap(schema);
  const nullable = isNullable(schema) ? ' | null' : '';
  return `${plainTypeText(inner)}${nullable}`;
}

function plainTypeText(schema: z.ZodType): string {
  if (schema instanceof z.ZodNumber) return numberText(schema);
  if (schema instanceof z.ZodBoolean) return 'true | false';
  if (schema instanceof z.ZodString) return 'text';
  if (schema instanceof z.ZodEnum) return schema.options.join(' | ');
  if (schema instanceof z.ZodLiteral) return [...schema.values].map(String).join(' | ');
  if (schema instanceof z.ZodUnion) return (schema.options as z.ZodType[]).map(typeText).join(' | ');
  if (schema instanceof z.ZodArray) return `list of ${typeText(schema.element as z.ZodType)}`;
  if (schema instanceof z.ZodRecord) return `map of names to ${typeText(schema.valueType as z.ZodType)}`;
  if (schema instanceof z.ZodObject) return `{ ${Object.keys(schema.shape).join(', ')} }`;
  return schema.type;
}

function numberText(schema: z.ZodNumber): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = z.toJSONSchema(schema, { io: 'input' });
  const bounds: string[] = [];
  if (exclusiveMinimum !== undefined) bounds.push(`> ${exclusiveMinimum}`);
  // zod bounds every integer by ±(2^53 - 1): true, but no news to the reader.
  if (minimum !== undefined && minimum !== Number.MIN_SAFE_INTEGER) bounds.push(`≥ ${minimum}`);
  if (exclusiveMaximum !== undefined) bounds.push(`< ${exclusiveMaximum}`);
  if (maximum !== undefined && maximum !== Number.MAX_SAFE_INTEGER) bounds.push(`≤ ${maximum}`);
  return [isInteger(schema) ? 'integer' : 'number', bounds.join(' and ')].join(' ').trim();
}

function isInteger(schema: z.ZodNumber): boolean {
  return schema.format?.includes('int') ?? false;
}

function isNullable(schema: z.ZodType): boolean {
  for (let inner: z.ZodType | undefined = schema; inner !== undefined; inner = wrapped(inner)) {
    if (inner instanceof z.ZodNullable) return true;
  }
  return false;
}

function placeholderOf(schema: z.ZodType): string {
  if (schema instanceof z.ZodNumber) return isInteger(schema) ? 'integer' : 'number';
  if (schema instanceof z.ZodString) return 'text';
  if (schema instanceof z.ZodEnum) return 'choice';
  if (schema instanceof z.ZodArray) return `${placeholderOf(unwrap(schema.element as z.ZodType))},…`;
  return 'value';
}
