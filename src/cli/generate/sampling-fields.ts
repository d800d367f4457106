/** Settings of sampling: for a whole command, and for single rows of a file. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type ConfigField, describeConfig, field, section, unwrap } from '../../core/config.ts';
import { isRecord } from '../../core/config-errors.ts';
import { DataError } from '../../core/errors.ts';
import { foldName, suggest } from '../../core/suggest.ts';
import type { Row } from '../../data/index.ts';
import type { RowOptions, textConstraints } from '../../generate/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';

/** What a row may set for itself, in its column `sampling`. */
export const samplingFields = section('Sampling', {
  maxNewTokens: field(z.int().positive().default(128), { aliases: ['maxTokens'] }).describe(
    'longest completion in tokens',
  ),
  minNewTokens: field(z.int().min(0).default(0), { aliases: ['minTokens'] }).describe(
    'no stop token and no stop text before this many tokens',
  ),
  temperature: field(z.number().min(0).default(1)).describe(
    'divides the logits; 0 takes the most likely token',
  ),
  topK: field(z.int().min(0).default(0)).describe('keep the k most likely tokens; 0 keeps all'),
  topP: field(z.number().gt(0).max(1).default(1)).describe(
    'keep the fewest tokens whose probabilities reach this sum',
  ),
  minP: field(z.number().min(0).max(1).default(0)).describe(
    'drop tokens less likely than this times the most likely one',
  ),
  typicalP: field(z.number().gt(0).max(1).default(1)).describe(
    'keep the tokens of most typical surprise that reach this sum; 1 keeps all',
  ),
  repetitionPenalty: field(z.number().positive().default(1)).describe(
    'divides positive logits of tokens seen before; 1 does nothing',
  ),
  frequencyPenalty: field(z.number().default(0)).describe(
    'subtracted from a logit per earlier occurrence in the completion',
  ),
  presencePenalty: field(z.number().default(0)).describe(
    'subtracted from the logits of tokens in the completion',
  ),
  logitBias: field(z.record(z.string().regex(/^\d+$/), z.number()).default({})).describe(
    'added to the logits of token ids, nats: {42: -5}',
  ),
  stop: field(z.array(z.string().min(1)).default([]), { placeholder: 'text,…' }).describe(
    'texts that end a completion and are left out of its text; the name of a special token means the token',
  ),
  stopIds: field(z.array(z.int().min(0)).default([]), {
    placeholder: 'id,…',
    aliases: ['stopTokenIds'],
  }).describe('tokens that end a completion, besides the tokenizer’s end-of-text token'),
  choice: field(z.array(z.string().min(1)).min(1).optional(), { placeholder: 'text,…' }).describe(
    'the completion is one of these texts',
  ),
  regex: field(z.string().optional(), { placeholder: 'pattern' }).describe(
    'the completion matches this regular expression from beginning to end',
  ),
  jsonSchema: field(z.union([z.string(), z.record(z.string(), z.unknown())]).optional(), {
    placeholder: 'file',
  }).describe('the completion is JSON of this schema: a file, or the schema itself'),
  jsonObject: field(z.boolean().default(false)).describe('the completion is a JSON object, whichever'),
  ignoreEos: field(z.boolean().default(false)).describe('the end-of-text token does not end a completion'),
});

const samplingSchema = z.strictObject(samplingFields);
export type SamplingSettings = z.output<typeof samplingSchema>;

const fields = describeConfig(samplingSchema);
const byName = new Map<string, ConfigField>(
  fields.flatMap((item) => [item.key, ...item.aliases].map((name) => [foldName(name), item] as const)),
);

/**
 * What a row's column `sampling` sets; nothing when it has none. Names may be written as in Python (`top_p`).
 *
 * @throws DataError naming the row for a column that is no object, an unknown name or a wrong value
 */
export function rowSettings({ columns, where }: Row): Partial<SamplingSettings> {
  const given = columns.sampling;
  if (given === undefined) return {};
  if (!isRecord(given)) {
    throw new DataError({
      where: `${where}, \`sampling\``,
      expected: 'an object such as {"temperature": 0.5}',
      received: JSON.stringify(given),
    });
  }
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const item = byName.get(foldName(name));
    if (item === undefined) {
      const near = suggest(name, byName.keys());
      throw new DataError({
        where: `${where}, \`sampling\``,
        expected: 'settings of sampling, as flags of heed generate have them',
        received: name,
        fix: near === undefined ? 'See heed generate --help' : `Did you mean ${byName.get(near)!.key}?`,
      });
    }
    const parsed = unwrap(item.schema).safeParse(value);
    if (!parsed.success) {
      throw new DataError({
        where: `${where}, \`sampling.${name}\``,
        expected: item.type,
        received: JSON.stringify(value),
      });
    }
    settings[item.key] = parsed.data;
  }
  return settings;
}

/**
 * Settings as options of the generator.
 *
 * @param constraints of the tokenizer
 * @throws ConfigError for a constraint that cannot be, DataError for a schema that cannot be read
 */
export function rowOptions(
  settings: SamplingSettings,
  tokenizer: Tokenizer,
  constraints: ReturnType<typeof textConstraints>,
): RowOptions {
  const {
    stop,
    ignoreEos,
    logitBias,
    stopIds: given,
    choice,
    regex,
    jsonSchema,
    jsonObject,
    ...rest
  } = settings;
  const schema = typeof jsonSchema === 'string' ? readSchema(jsonSchema) : jsonSchema;
  const constraint = constraints({
    ...{ choice, regex, jsonSchema: schema },
    jsonObject: jsonObject ? (true as const) : undefined,
  });
  const stopIds = new Set(given);
  if (!ignoreEos && tokenizer.eosId !== undefined) stopIds.add(tokenizer.eosId);
  const stopTexts: string[] = [];
  for (const text of stop) {
    const ids = tokenizer.encode(text, { continuation: true, parseSpecial: true });
    // Special tokens have no text in a completion.
    if (ids.length === 1 && tokenizer.specialIds.has(ids[0]!)) stopIds.add(ids[0]!);
    else stopTexts.push(text);
  }
  return {
    ...rest,
    stopIds,
    stopTexts,
    // Also where there is none: a row without must not have that of the first.
    constraint,
    logitBias: new Map(Object.entries(logitBias).map(([id, bias]) => [Number(id), bias])),
  };
}

/** A schema from its text, or from the file that holds it. */
function readSchema(text: string): unknown {
  const isText = text.trimStart().startsWith('{');
  try {
    return JSON.parse(isText ? text : readFileSync(text, 'utf8'));
  } catch (cause) {
    throw new DataError({
      where: isText ? 'jsonSchema' : text,
      expected: 'a JSON schema, or a file of one',
      received: (cause as Error).message,
      fix: 'Check the file',
      cause,
    });
  }
}
