/** Rows → whole texts as token ids, for encoders, which read a prompt with its completion at once and predict no token. */
import { DataError } from '../core/errors.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { type ChatFormat, chatFormat } from './chat-format.ts';
import type { Encoder, EncoderOptions } from './encoder.ts';
import type { EncodedExample } from './example.ts';
import type { Row } from './row.ts';
import { type Content, type Message, parsePreference, parsePromptCompletion } from './row-types.ts';
import { renderRow } from './segments.ts';

/**
 * Encodes prompt and completion as one text with what the tokenizer puts around it ([CLS] … [SEP]). Conversations are
 * rendered by the chat template; of standard rows the completion follows the prompt directly, as in TRL.
 *
 * A text longer than `maxLength` is an error that names the row; with `truncation` `keep-start` its end is cut and counted,
 * with `keep-end` its start; the tokens around it stay. Masks are 1 on every token but the first.
 *
 * @throws DataError naming the row: columns missing or wrong, equal sides of a pair, a text that is too long
 */
export function createTextEncoder(
  tokenizer: Tokenizer,
  {
    maxLength = Number.POSITIVE_INFINITY,
    truncation = 'error',
    ...chat
  }: Pick<EncoderOptions, 'maxLength' | 'truncation' | 'template' | 'templateName'> = {},
): Pick<Encoder, 'preference' | 'supervised'> {
  let format: ChatFormat | undefined;
  const { before, after } = surroundings(tokenizer);

  function textOf(
    prompt: Content,
    side: Content,
    { where, tools }: { readonly where: string; readonly tools?: readonly unknown[] | undefined },
  ): string {
    if (typeof prompt === 'string') return prompt + (side as string);
    format ??= chatFormat(tokenizer, chat);
    const messages = [...prompt, ...(side as readonly Message[])];
    return renderRow(format, messages, tools === undefined ? {} : { tools }, where);
  }

  function encode(text: string, where: string): EncodedExample {
    const all = tokenizer.encode(text);
    const surplus = Math.max(0, all.length - maxLength);
    if (surplus > 0 && (truncation === 'error' || maxLength <= before + after)) {
      throw new DataError({
        where,
        expected: `at most ${maxLength} tokens`,
        received: `${all.length}`,
        fix: 'Raise the maximum length, remove the row, or set truncation to keep-start or keep-end',
      });
    }
    const from = truncation === 'keep-end' ? before : all.length - after - surplus;
    const ids = Int32Array.from(all.filter((_, at) => at < from || at >= from + surplus));
    return {
      ...{ where, ids, promptLength: 1, truncated: surplus, boundary: 'exact' },
      mask: new Uint8Array(ids.length).fill(1, 1),
    };
  }

  return {
    preference(row: Row) {
      const { prompt, ...pair } = parsePreference(row);
      const { where } = pair;
      const chosen = encode(textOf(prompt, pair.chosen, pair), where);
      const rejected = encode(textOf(prompt, pair.rejected, pair), where);
      if (chosen.ids.join() === rejected.ids.join()) {
        throw new DataError({
          where,
          expected: '`chosen` and `rejected` to differ',
          received: chosen.truncated > 0 ? `equal tokens after cutting to ${maxLength}` : 'equal tokens',
          fix: chosen.truncated > 0 ? 'Raise the maximum length or remove the row' : 'Remove the row',
        });
      }
      return { where, chosen, rejected };
    },
    supervised(row: Row) {
      const { prompt, completion, ...rest } = parsePromptCompletion(row);
      return encode(textOf(prompt, completion, rest), rest.where);
    },
  };
}

/** How many tokens the tokenizer puts before and after a text. */
function surroundings(tokenizer: Tokenizer): { readonly before: number; readonly after: number } {
  const plain = tokenizer.encode('a', { addSpecial: false });
  const dressed = tokenizer.encode('a');
  const before = Math.max(
    0,
    dressed.findIndex((_, at) => plain.every((id, i) => dressed[at + i] === id)),
  );
  return { before, after: dressed.length - before - plain.length };
}
