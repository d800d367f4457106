import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createRng } from '../../core/rng.ts';
import { type ByteAutomaton, regexAutomaton } from './byte-automaton.ts';
import { integerRange } from './integer-range.ts';
import { schemaRegex } from './json-schema.ts';

/** Fewest bytes to a match from each state. */
function distances({ next, accepts }: ByteAutomaton): number[] {
  const found = accepts.map((accepting) => (accepting ? 0 : Number.POSITIVE_INFINITY));
  for (let changed = true; changed; ) {
    changed = false;
    next.forEach((table, state) => {
      for (const to of table) {
        if (to < 0 || found[to]! + 1 >= found[state]!) continue;
        found[state] = found[to]! + 1;
        changed = true;
      }
    });
  }
  return found;
}

/** A random walk to a match, which takes the shortest way once it has gone some way. */
function walk({ next, accepts }: ByteAutomaton, distance: readonly number[], seed: number): string {
  const rng = createRng(seed);
  const bytes: number[] = [];
  for (let state = 0, step = 0; ; step++) {
    const table = next[state]!;
    const home = step > 10 + 5 * seed;
    const ways = [...table.keys()].filter(
      (byte) => table[byte]! >= 0 && (!home || distance[table[byte]!]! < distance[state]!),
    );
    if (accepts[state] && (ways.length === 0 || rng.uniform(step, 0) < 0.2)) break;
    const byte = ways[Math.floor(rng.uniform(step, 1) * ways.length)]!;
    bytes.push(byte);
    state = table[byte]!;
  }
  return Buffer.from(bytes).toString('utf8');
}

const person = z.strictObject({
  name: z.string(),
  age: z.int().min(0).max(130),
  height: z.number().min(0).optional(),
  kind: z.enum(['adult', 'child']),
  tags: z.array(z.string().min(1).max(5)).min(1).max(3).optional(),
  home: z.union([z.null(), z.strictObject({ street: z.string(), number: z.int() })]),
  pair: z.tuple([z.boolean(), z.literal('a"\\b')]).optional(),
});

const schemas: readonly (readonly [string, unknown, z.ZodType])[] = [
  ['an object as zod writes it', z.toJSONSchema(person), person],
  [
    'all optional',
    { type: 'object', properties: { a: { type: 'null' }, b: { type: 'boolean' }, c: { const: 3 } } },
    z.strictObject({ a: z.null().optional(), b: z.boolean().optional(), c: z.literal(3).optional() }),
  ],
  ['a map', { type: 'object', additionalProperties: { type: 'integer' } }, z.record(z.string(), z.int())],
  ['several types', { type: ['string', 'null'] }, z.string().nullable()],
  ['a pattern', { type: 'string', pattern: '^[A-Z]{2}-[^x]+$' }, z.string().regex(/^[A-Z]{2}-[^x]+$/u)],
  ['a pattern anywhere', { type: 'string', pattern: 'ab' }, z.string().regex(/ab/u)],
  ['a date', { type: 'string', format: 'date-time' }, z.iso.datetime({ offset: true })],
  ['a UUID', { type: 'string', format: 'uuid' }, z.string().length(36)],
  [
    'references',
    {
      $defs: {
        point: { type: 'object', properties: { x: { $ref: '#/$defs/n' } }, required: ['x'] },
        n: { type: 'number' },
      },
      type: 'array',
      items: { $ref: '#/$defs/point' },
    },
    z.array(z.strictObject({ x: z.number() })),
  ],
];

describe('schemaRegex', () => {
  it.each(schemas)('gives texts that are valid: %s', (_, schema, validator) => {
    const automaton = regexAutomaton(schemaRegex(schema));
    const distance = distances(automaton);
    const texts = new Set(Array.from({ length: 40 }, (_, seed) => walk(automaton, distance, seed)));
    expect(texts.size).toBeGreaterThan(5);
    for (const text of texts) {
      const result = validator.safeParse(JSON.parse(text));
      // Calendars know months of 30 days, the pattern does not.
      if (
        result.error?.issues.every(({ code }) => code === 'invalid_format') &&
        /-(02|04|06|09|11)-(29|3\d)/.test(text)
      )
        continue;
      expect([text, result.error?.issues]).toEqual([text, undefined]);
    }
  });

  const matches = (schema: unknown, text: string): boolean =>
    new RegExp(`^(?:${schemaRegex(schema)})$`, 'u').test(text);

  it('takes the JSON texts of valid values, with a space after : and , or none', () => {
    const schema = z.toJSONSchema(person);
    const value = {
      ...{ name: 'Zoë "Z" \\', age: 130, height: 1.5e-3, kind: 'child', tags: ['a', 'bcdef'] },
      ...{ home: { street: '\u0001\n', number: -12 }, pair: [true, 'a"\\b'] },
    };
    expect(matches(schema, JSON.stringify(value))).toBe(true);
    expect(matches(schema, JSON.stringify(value).replaceAll(/([:,])(?=["{[\d-])/g, '$1 '))).toBe(true);
    const { height, tags, pair, ...least } = value;
    expect(matches(schema, JSON.stringify({ ...least, home: null }))).toBe(true);
    for (const wrong of [
      { ...value, age: 131 },
      { ...value, age: -1 },
      { ...value, kind: 'other' },
      { ...value, tags: [] },
      { ...value, tags: ['abcdef'] },
      { ...value, more: 1 },
      { name: value.name },
    ])
      expect([wrong, matches(schema, JSON.stringify(wrong))]).toEqual([wrong, false]);
  });

  it('gives exactly the integers between two bounds', () => {
    for (const [low, high] of [
      [8, 12],
      [0, 0],
      [-5, 3],
      [99, 1234],
      [-1207, -98],
      [1, 100],
      [350, 2071],
    ] as const) {
      const pattern = new RegExp(`^${integerRange(low, high)}$`);
      for (let n = -2500; n <= 2500; n++)
        expect([n, pattern.test(String(n))]).toEqual([n, n >= low && n <= high]);
      for (const text of ['-0', '01', '', '007']) expect(pattern.test(text)).toBe(false);
    }
    expect(() => integerRange(1.2, 1.8, '#/minimum')).toThrow(/none from 1.2 to 1.8/);
  });

  it('refuses what it cannot keep to, naming the place', () => {
    const refuses = (schema: unknown, message: RegExp): void =>
      expect(() => schemaRegex(schema)).toThrow(message);
    const property = (schema: unknown) => ({ type: 'object', properties: { a: schema } });
    refuses(
      property({ type: 'number', multipleOf: 2 }),
      /JSON schema, #\/properties\/a\/multipleOf: expected one of type, minimum here/,
    );
    refuses(property({ allOf: [] }), /#\/properties\/a\/type: expected null, boolean/);
    refuses(
      property({ type: 'string', format: 'email' }),
      /a\/format: expected date, time.*received "email"/,
    );
    refuses({ type: 'array' }, /#\/items: expected a schema of the items, received none/);
    refuses({ type: 'object' }, /#\/properties: expected properties/);
    refuses({ $ref: '#/$defs/x', $defs: { x: property({ $ref: '#/$defs/x' }) } }, /without recursion/);
    refuses({ $ref: '#/$defs/y', $defs: {} }, /a reference to what is there, received #\/\$defs\/y/);
    refuses(
      { type: 'object', properties: { a: { type: 'null' } }, required: ['b'] },
      /required: expected names of properties/,
    );
    refuses('string', /#: expected a schema/);
    refuses({ type: 'string', pattern: '"' }, /without quotes and backslashes/);
    refuses({ type: 'integer', minimum: 5, maximum: 4 }, /an integer between minimum and maximum/);
  });
});
