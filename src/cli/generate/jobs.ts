/** What `heed generate` is to complete. */
import { createEncoder, type Row } from '../../data/index.ts';
import { textConstraints } from '../../generate/index.ts';
import type { Job } from './completions.ts';
import { rowOptions, rowSettings, type SamplingSettings, samplingFields } from './sampling-fields.ts';
import type { CompletionSource } from './source.ts';

/** Rows with their prompts as tokens and their options. */
export function createJobs(
  rows: readonly Row[],
  settings: SamplingSettings,
  { tokenizer, maxPositions }: Pick<CompletionSource, 'tokenizer' | 'maxPositions'>,
): Job[] {
  const encoder = createEncoder(tokenizer, { maxLength: maxPositions });
  const constraints = textConstraints(tokenizer);
  return rows.map((row, index) => ({
    index,
    row,
    prompt: encoder.prompt(row),
    options: rowOptions(
      { ...samplingOf(settings), ...constrained(rowSettings(row), settings) },
      tokenizer,
      constraints,
    ),
  }));
}

/** A row with a constraint of its own has that alone. */
function constrained(
  own: ReturnType<typeof rowSettings>,
  { choice, regex, jsonSchema, jsonObject }: SamplingSettings,
): ReturnType<typeof rowSettings> {
  const { choice: one, regex: expression, jsonSchema: schema, jsonObject: object = false } = own;
  const constraint = { choice: one, regex: expression, jsonSchema: schema, jsonObject: object };
  const given = object || [one, expression, schema].some((value) => value !== undefined);
  return { ...own, ...(given ? constraint : { choice, regex, jsonSchema, jsonObject }) };
}

/** Of all settings, those of sampling. */
export const samplingOf = (settings: SamplingSettings): SamplingSettings =>
  Object.fromEntries(
    Object.keys(samplingFields).map((name) => [name, settings[name as keyof SamplingSettings]]),
  ) as SamplingSettings;
