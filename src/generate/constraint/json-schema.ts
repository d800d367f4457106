/** JSON Schema → regular expression of its JSON texts: what a token automaton can keep to. */
import { JS, NFA } from 'refa';
import { isRecord } from '../../core/config-errors.ts';
import { ConfigError } from '../../core/errors.ts';
import { regexDfa } from './byte-automaton.ts';
import { integerRange } from './integer-range.ts';

type Json = Readonly<Record<string, unknown>>;

interface Context {
  readonly root: Json;
  /** Place in the schema, for messages: `#/properties/name`. */
  readonly at: string;
  /** References that are being followed. */
  readonly open: readonly string[];
}

/** Keys that say nothing about which texts are valid. */
const annotations = ['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'];
const annotationKeys = new Set([...annotations, '$schema', '$id', '$comment', '$defs', 'definitions']);

const escaped = '\\\\(?:["\\\\/bfnrt])';
const unicodeEscape = '\\\\u[0-9a-fA-F]{4}';
const plain = '[^"\\\\\\u0000-\\u001f]';
const stringBody = `(?:${plain}|${escaped}|${unicodeEscape})*`;
/** Digits are bounded, or a model may write them for ever: what a double holds exactly. */
const digits = 15;
const natural = `(?:0|[1-9][0-9]{0,${digits - 1}})`;
const fraction = `(?:\\.[0-9]{1,${digits}})?(?:[eE][+-]?[0-9]{1,2})?`;
const comma = ', ?';

/** Formats with an exact pattern. @source RFC 3339, section 5.6; RFC 9562, section 4 */
const date = '[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])';
const time =
  '(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])';
const hex = (count: number): string => `[0-9a-fA-F]{${count}}`;
const formats: Readonly<Record<string, string>> = {
  date,
  time,
  'date-time': `${date}T${time}`,
  uuid: [8, 4, 4, 4, 12].map(hex).join('-'),
};

/**
 * A regular expression of JSON texts that are valid under a schema.
 *
 * Members come in the order of `properties`, those that are not `required` may be left out, and no others are written; after
 * `:` and `,` may be one space. Numbers have at most 15 digits. Supported: `type` (also several), `properties`, `required`,
 * `additionalProperties` (a schema, where there are no `properties`), `items`, `prefixItems`, `minItems`, `maxItems`,
 * `minLength`, `maxLength`, `pattern`, `format` (date, time, date-time, uuid), `minimum` and `maximum` of integers, `minimum`
 * 0 of numbers, `enum`, `const`, `anyOf`, `$ref` into the schema without recursion.
 *
 * @throws ConfigError naming the place for whatever else would change what is valid
 * @example schemaRegex({ type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }) // \{"ok": ?(?:true|false)\}
 */
export function schemaRegex(schema: unknown): string {
  if (!isRecord(schema)) throw refused('#', 'a schema, which is an object', JSON.stringify(schema));
  return regexOf(schema, { root: schema, at: '#', open: [] });
}

function regexOf(schema: unknown, context: Context): string {
  if (!isRecord(schema)) throw refused(context.at, 'a schema, which is an object', JSON.stringify(schema));
  const inner = (key: string): Context => ({ ...context, at: `${context.at}/${key}` });
  const given = Object.keys(schema).filter((key) => !annotationKeys.has(key));
  const only = (...keys: string[]): void => {
    const other = given.find((key) => !keys.includes(key));
    if (other === undefined) return;
    throw refused(`${context.at}/${other}`, `one of ${keys.join(', ')} here`, other);
  };
  if ('$ref' in schema) {
    only('$ref');
    return regexOf(...resolve(schema.$ref, inner('$ref')));
  }
  if ('const' in schema) {
    only('const', 'type');
    return literal(schema.const);
  }
  if ('enum' in schema) {
    only('enum', 'type');
    const values = listAt(schema.enum, inner('enum'));
    return group(values.map(literal));
  }
  if ('anyOf' in schema) {
    only('anyOf');
    return group(listAt(schema.anyOf, inner('anyOf')).map((one, i) => regexOf(one, inner(`anyOf/${i}`))));
  }
  const { type } = schema;
  if (Array.isArray(type)) return group(type.map((one) => regexOf({ ...schema, type: one }, context)));
  switch (type) {
    case 'null':
      only('type');
      return 'null';
    case 'boolean':
      only('type');
      return '(?:true|false)';
    case 'integer': {
      only('type', 'minimum', 'maximum');
      const bound = 10 ** digits - 1;
      return integerRange(
        integerAt(schema.minimum, -bound, inner('minimum')),
        integerAt(schema.maximum, bound, inner('maximum')),
        inner('minimum').at,
      );
    }
    case 'number': {
      only('type', 'minimum');
      const least = schema.minimum;
      if (least !== undefined && least !== 0)
        throw refused(`${context.at}/minimum`, '0 for numbers, or integers', JSON.stringify(least));
      return `${least === 0 ? '' : '-?'}${natural}${fraction}`;
    }
    case 'string':
      only('type', 'minLength', 'maxLength', 'pattern', 'format');
      return stringRegex(schema, context);
    case 'array':
      only('type', 'items', 'prefixItems', 'minItems', 'maxItems');
      return arrayRegex(schema, inner);
    case 'object':
      only('type', 'properties', 'required', 'additionalProperties');
      return objectRegex(schema, inner);
    default:
      throw refused(
        `${context.at}/type`,
        'null, boolean, integer, number, string, array or object',
        JSON.stringify(type) ?? 'nothing',
      );
  }
}

function stringRegex(schema: Json, { at }: Context): string {
  const { pattern, format } = schema;
  const least = countAt(schema.minLength, 0, `${at}/minLength`);
  const most = countAt(schema.maxLength, undefined, `${at}/maxLength`);
  const bounded = schema.minLength !== undefined || schema.maxLength !== undefined;
  if ([pattern, format, bounded || undefined].filter((x) => x !== undefined).length > 1)
    throw refused(at, 'one of pattern, format and lengths', 'several');
  if (format !== undefined) {
    const known = formats[String(format)];
    if (known === undefined)
      throw refused(`${at}/format`, Object.keys(formats).join(', '), JSON.stringify(format));
    return `"${known}"`;
  }
  if (pattern !== undefined) return `"${patternBody(String(pattern), `${at}/pattern`)}"`;
  if (!bounded) return `"${stringBody}"`;
  // An escaped surrogate would count as half a character.
  return `"(?:${plain}|${escaped}){${least},${most ?? ''}}"`;
}

/** A pattern, which may lie anywhere in the string, among strings that need no escapes. */
function patternBody(pattern: string, at: string): string {
  const unescaped = regexDfa(`(?:${plain})*`, at);
  const anywhere = regexDfa(
    `${pattern.startsWith('^') ? '' : '[^]*'}(?:${pattern})${/(^|[^\\])\$$/.test(pattern) ? '' : '[^]*'}`,
    at,
  );
  const both = NFA.fromIntersection(anywhere, unescaped);
  if (both.isEmpty) throw refused(at, 'a pattern of strings without quotes and backslashes', pattern);
  return `(?:${JS.toLiteral(both.toRegex(), { flags: { unicode: true, ignoreCase: false } }).source})`;
}

function arrayRegex(schema: Json, inner: (key: string) => Context): string {
  const first = schema.prefixItems === undefined ? [] : listAt(schema.prefixItems, inner('prefixItems'));
  const head = first.map((one, i) => regexOf(one, inner(`prefixItems/${i}`)));
  const least = countAt(schema.minItems, head.length, inner('minItems').at)!;
  const most = countAt(schema.maxItems, head.length > 0 ? head.length : undefined, inner('maxItems').at);
  if (head.length > 0) {
    if (schema.items !== undefined && schema.items !== false)
      throw refused(inner('items').at, 'none, or false, beside prefixItems', JSON.stringify(schema.items));
    if (least !== head.length || most !== head.length)
      throw refused(inner('minItems').at, `as many as prefixItems, ${head.length}`, `${least} to ${most}`);
    return `\\[${head.join(comma)}\\]`;
  }
  if (schema.items === undefined) throw refused(inner('items').at, 'a schema of the items', 'none');
  const item = regexOf(schema.items, inner('items'));
  if (most === 0) return '\\[\\]';
  const more = `(?:${comma}${item}){${Math.max(least - 1, 0)},${most === undefined ? '' : most - 1}}`;
  return least === 0 ? `\\[(?:${item}${more})?\\]` : `\\[${item}${more}\\]`;
}

function objectRegex(schema: Json, inner: (key: string) => Context): string {
  const { properties = {}, required = [], additionalProperties } = schema;
  if (!isRecord(properties)) throw refused(inner('properties').at, 'an object', JSON.stringify(properties));
  const names = Object.keys(properties);
  const needed = new Set(listAt(required, inner('required')));
  for (const name of needed) {
    if (!names.includes(String(name)))
      throw refused(inner('required').at, 'names of properties', JSON.stringify(name));
  }
  if (names.length === 0) {
    if (additionalProperties === false) return '\\{\\}';
    if (!isRecord(additionalProperties))
      throw refused(inner('properties').at, 'properties, or a schema as additionalProperties', 'none');
    const member = `"${stringBody}": ?${regexOf(additionalProperties, inner('additionalProperties'))}`;
    return `\\{(?:${member}(?:${comma}${member})*)?\\}`;
  }
  const members = names.map((name) => ({
    text: `${literal(name)}: ?${regexOf(properties[name], inner(`properties/${name}`))}`,
    needed: needed.has(name),
  }));
  // From the last to the first: what may follow once something was written, and what may begin.
  let after = '';
  let begin = '';
  members.toReversed().forEach(({ text, needed: isNeeded }) => {
    const first = `${text}${after}`;
    begin = isNeeded ? first : begin === '' ? `(?:${first})?` : group([first, begin]);
    after = isNeeded ? `${comma}${text}${after}` : `(?:${comma}${text})?${after}`;
  });
  return `\\{${begin}\\}`;
}

/** The place that a reference names, `#/$defs/name`. */
function resolve(reference: unknown, context: Context): [unknown, Context] {
  if (typeof reference !== 'string' || !reference.startsWith('#'))
    throw refused(context.at, 'a reference into the schema, #/…', JSON.stringify(reference));
  if (context.open.includes(reference))
    throw refused(context.at, 'schemas without recursion', `${reference}, which contains itself`);
  let value: unknown = context.root;
  for (const part of reference.split('/').slice(1)) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    value = isRecord(value) ? value[name] : undefined;
  }
  if (value === undefined) throw refused(context.at, 'a reference to what is there', reference);
  return [value, { ...context, at: reference, open: [...context.open, reference] }];
}

const group = (choices: readonly string[]): string => `(?:${choices.join('|')})`;

/** The JSON text of a value, with nothing but that. */
const literal = (value: unknown): string => JSON.stringify(value).replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');

function listAt(value: unknown, { at }: Context): readonly unknown[] {
  if (Array.isArray(value) && (value.length > 0 || at.endsWith('required'))) return value;
  throw refused(at, 'a list', JSON.stringify(value));
}

function countAt<D>(value: unknown, fallback: D, at: string): number | D {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 1000) return value;
  throw refused(at, 'an integer of 0 to 1000', JSON.stringify(value));
}

function integerAt(value: unknown, fallback: number, { at }: Context): number {
  if (value === undefined) return fallback;
  // What has more digits is not written, so that wider bounds bind nothing.
  const bound = 10 ** digits - 1;
  if (typeof value === 'number') return Math.max(-bound, Math.min(bound, value));
  throw refused(at, 'a number', JSON.stringify(value));
}

const refused = (at: string, expected: string, received: string): ConfigError =>
  new ConfigError({
    where: `JSON schema, ${at}`,
    expected,
    received,
    fix: 'Write the schema with what is supported (docs/guide/generation.md), or check the result afterwards',
  });
