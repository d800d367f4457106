/** How texts end and join: the fields of methods that learn from completions in data. */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import type { EncoderOptions } from '../../data/index.ts';

export const encodingFields = section('Texts', {
  stopTokens: field(z.array(z.string().min(1)).default([]), { placeholder: 'tokens' }).describe(
    'tokens besides end-of-text that end a completion, such as <|eot_id|>, where the chat template ends turns with them',
  ),
  separator: field(z.string().default('')).describe(
    'text between prompt and completion of rows that are no conversations; part of the prompt',
  ),
});

/** The options of an encoder; those at their defaults are left out, so that tokenised caches stay what they are. */
export function encodingOptions({
  stopTokens,
  separator,
}: {
  readonly stopTokens: readonly string[];
  readonly separator: string;
}): Pick<EncoderOptions, 'stopTokens' | 'separator'> {
  return {
    ...(stopTokens.length === 0 ? {} : { stopTokens }),
    ...(separator === '' ? {} : { separator }),
  };
}
