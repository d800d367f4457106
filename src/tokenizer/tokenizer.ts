/** What every tokenizer offers, and the check that one fits a model. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../core/errors.ts';

export interface EncodeOptions {
  /** Add what the tokenizer puts around a text by itself, such as BOS. Default true. */
  readonly addSpecial?: boolean;
  /**
   * The text follows other tokens, so nothing is put in front of it: no special token (whatever `addSpecial` says) and
   * no dummy space. Ids of a prompt followed by ids of its continuation decode to the joined text. Default false.
   */
  readonly continuation?: boolean;
  /**
   * Read the text of a special token (`</s>`) as that token. Default false, except for `tokenizer.json` tokenizers, which
   * always do so. Needed for texts that a chat template rendered; a price: such a text inside a message counts too.
   */
  readonly parseSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default true. */
  readonly skipSpecial?: boolean;
}

/** The special tokens by the names that chat templates use. */
export interface SpecialTokens {
  readonly bos_token?: string;
  readonly eos_token?: string;
  readonly pad_token?: string;
  readonly unk_token?: string;
}

/** Text ⇄ token ids. Immutable. */
export interface Tokenizer {
  readonly kind: 'huggingface' | 'llama2c';
  /** Largest id plus one. */
  readonly vocabSize: number;
  readonly bosId?: number;
  readonly eosId?: number;
  readonly padId?: number;
  readonly unkId?: number;
  /** Ids that stand for no text: BOS, EOS and every token marked special. */
  readonly specialIds: ReadonlySet<number>;
  readonly specialTokens: SpecialTokens;
  /** Whether `encode` with `addSpecial` begins with BOS. */
  readonly addsBos: boolean;
  /** The chat template to use when none is named, as Jinja source. */
  readonly chatTemplate?: string;
  /** Every chat template by its name; the unnamed one is `default`. */
  readonly chatTemplates: ReadonlyMap<string, string>;
  /** Name and bytes of every file the tokenizer consists of, as read: what `save` writes and what caches hash. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * Two texts as one sequence, with what the tokenizer puts around and between them; `types` is 0 for tokens of the first
   * text and 1 for those of the second. For classifiers of pairs; tokenizers that know no pairs lack it.
   */
  encodePair?(first: string, second: string): { readonly ids: number[]; readonly types: number[] };
  /** @throws CheckpointError when an id is outside the vocabulary */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** How to show one token: its text with spaces kept, `<0x0A>` for a byte that is no text by itself. */
  tokenText(id: number): string;
  /** Writes `files` into the folder, which is created when missing. */
  save(folder: string): Promise<void>;
}

/** Writes files by name; the shared implementation of `Tokenizer.save`. */
export async function writeTokenizerFiles(
  folder: string,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, bytes] of files) {
    const path = join(folder, name);
    if (name.includes('/')) await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, bytes);
  }
}

/**
 * Checks that every id of the tokenizer is a row of the model's embedding. A larger embedding is fine (many models pad it).
 *
 * @param model `vocabSize` rows of its embedding; `where` it was read, for the message
 * @throws CheckpointError when an id can exceed the model's vocabulary
 */
export function checkTokenizerFits(
  tokenizer: Tokenizer,
  model: { readonly vocabSize: number; readonly where: string },
): void {
  if (tokenizer.vocabSize <= model.vocabSize) return;
  const largest = tokenizer.vocabSize - 1;
  throw new CheckpointError({
    where: model.where,
    expected: `a tokenizer with ids below ${model.vocabSize}, the model's vocabulary`,
    received: `a tokenizer of ${tokenizer.vocabSize} tokens (id ${largest} is "${tokenizer.tokenText(largest)}")`,
    fix: 'Use the tokenizer that the model was trained with, or a model with a larger vocabulary',
  });
}

/** Throws unless every id is a whole number in [0, vocabSize). */
export function checkIds(where: string, ids: ArrayLike<number>, vocabSize: number): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new CheckpointError({
        where,
        expected: `token ids in [0, ${vocabSize})`,
        received: `${id} at position ${i}`,
        fix: 'Decode with the tokenizer that belongs to the model',
      });
    }
  }
}
