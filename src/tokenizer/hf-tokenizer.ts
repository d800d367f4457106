/** Tokenizers from a Hugging Face `tokenizer.json`, with their configuration files and chat templates. */
import { Tokenizer as TokenizerJs } from '@huggingface/tokenizers';
import { CheckpointError } from '../core/errors.ts';
import { bytesOfPiece, showBytes } from './byte-level.ts';
import { faithfulDefinition, repairByteDecoder } from './faithful-build.ts';
import {
  checkIds,
  type DecodeOptions,
  type EncodeOptions,
  type SpecialTokens,
  type Tokenizer,
  writeTokenizerFiles,
} from './tokenizer.ts';

type Json = { readonly [key: string]: unknown };

/** Files that belong to a `tokenizer.json` tokenizer, besides `additional_chat_templates/<name>.jinja`. */
export const hfTokenizerFiles = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
] as const;

/** Folder of named templates beside the main one. */
export const additionalTemplatesFolder = 'additional_chat_templates';

const roles = ['bos_token', 'eos_token', 'pad_token', 'unk_token'] as const;

/**
 * A tokenizer from the bytes of its files. Special tokens come from `tokenizer_config.json`, those it lacks from
 * `special_tokens_map.json`; the chat template from `chat_template.jinja`, else `tokenizer_config.json` (one template or
 * a list of named ones), else `chat_template.json`.
 *
 * As in transformers 5, `clean_up_tokenization_spaces` is off unless the configuration asks for it, and for byte pairs also
 * then, so that decoding an encoded text gives the text back.
 *
 * @param files name → bytes; `tokenizer.json` is required
 * @param where the folder, for messages
 * @throws CheckpointError when a file is not valid JSON, or describes a tokenizer that cannot be built
 */
export function readHfTokenizer(files: ReadonlyMap<string, Uint8Array>, where: string): Tokenizer {
  const definition = parseFile(files, 'tokenizer.json', where);
  if (definition === undefined) {
    throw new CheckpointError({
      where,
      expected: 'a file tokenizer.json',
      received: [...files.keys()].join(', '),
    });
  }
  const config = parseFile(files, 'tokenizer_config.json', where) ?? {};
  const map = parseFile(files, 'special_tokens_map.json', where) ?? {};
  const addedTokens = mergeAddedTokens(definition, config);
  const full: Json = { ...definition, added_tokens: addedTokens };
  const inner = build(full, config, where);

  let vocabSize = 0;
  for (const id of inner.get_vocab().values()) vocabSize = Math.max(vocabSize, id + 1);

  const special: { -readonly [K in keyof SpecialTokens]: string } = {};
  const ids: { bosId?: number; eosId?: number; padId?: number; unkId?: number } = {};
  const specialIds = new Set<number>(
    addedTokens.filter((token) => token.special === true).map((token) => token.id),
  );
  for (const role of roles) {
    const text = tokenContent(config[role]) ?? tokenContent(map[role]);
    if (text === undefined) continue;
    const id = inner.token_to_id(text);
    if (id === undefined) {
      throw new CheckpointError({
        where: `${where}: ${role}`,
        expected: 'a token of tokenizer.json',
        received: JSON.stringify(text),
        fix: `Add it to the vocabulary, or set ${role} to a token that is there`,
      });
    }
    special[role] = text;
    ids[`${role.slice(0, 3) as 'bos' | 'eos' | 'pad' | 'unk'}Id`] = id;
    specialIds.add(id);
  }

  const plain = inner.encode('a', { add_special_tokens: false }).ids;
  const dressed = inner.encode('a').ids;
  const addsBos = ids.bosId !== undefined && dressed[0] === ids.bosId && plain[0] !== ids.bosId;
  const continuing = startsWithoutDummySpace(full) ? inner : build(withoutDummySpace(full), config, where);
  // transformers 5 asks for more before it spoils what byte pairs decode to exactly; Llama 3's files ask in vain.
  const exact = (definition.model as Json | undefined)?.type === 'BPE';
  const cleanUp =
    config.clean_up_tokenization_spaces === true &&
    (!exact || config.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output === true);
  const addedContent = new Map(addedTokens.map((token) => [token.id, token.content]));
  const byteLevel = JSON.stringify(definition.decoder ?? null).includes('"ByteLevel"');
  const chatTemplates = readChatTemplates(files, config, where);
  const chatTemplate = chatTemplates.get('default');

  return {
    kind: 'huggingface',
    vocabSize,
    ...ids,
    specialIds,
    specialTokens: special,
    addsBos,
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    chatTemplates,
    files,
    encode(text: string, { addSpecial = true, continuation = false }: EncodeOptions = {}) {
      const tokens: (number | undefined)[] = (continuation ? continuing : inner).encode(text, {
        add_special_tokens: addSpecial && !continuation,
      }).ids;
      return withoutHoles(tokens, text, where);
    },
    encodePair(first: string, second: string) {
      const { ids, token_type_ids: types } = inner.encode(first, {
        text_pair: second,
        return_token_type_ids: true,
      });
      return { ids: withoutHoles(ids, `${first}${second}`, where), types };
    },
    decode(tokens: ArrayLike<number>, { skipSpecial = true }: DecodeOptions = {}) {
      checkIds(`${where}: decode`, tokens, vocabSize);
      // The library skips by text, and only tokens marked special in tokenizer.json; these are the ids that we report.
      const kept = Array.from(tokens).filter((id) => !skipSpecial || !specialIds.has(id));
      if (kept.length === 0) return '';
      return inner.decode(kept, { skip_special_tokens: false, clean_up_tokenization_spaces: cleanUp });
    },
    tokenText(id: number) {
      checkIds(`${where}: tokenText`, [id], vocabSize);
      const added = addedContent.get(id);
      if (added !== undefined) return added;
      const piece = inner.id_to_token(id) ?? `<no token ${id}>`;
      const bytes = byteLevel ? bytesOfPiece(piece) : undefined;
      return bytes === undefined ? piece.replaceAll('▁', ' ') : showBytes(bytes);
    },
    save: (folder: string) => writeTokenizerFiles(folder, files),
  };
}

/** The ids of a text. Without an unknown token, the library leaves a hole for what has no id, which is refused. */
function withoutHoles(tokens: (number | undefined)[], text: string, where: string): number[] {
  const hole = tokens.indexOf(undefined);
  if (hole < 0) return tokens as number[];
  throw new CheckpointError({
    where: `${where}: encode`,
    expected: 'a token for every part of the text',
    received: `none for token ${hole} of ${JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)}`,
    fix: 'Use a tokenizer with byte fallback or an unknown token',
  });
}

function build(definition: Json, config: Json, where: string): TokenizerJs {
  try {
    const built = new TokenizerJs(faithfulDefinition(definition), config);
    repairByteDecoder(built.decoder);
    return built;
  } catch (cause) {
    throw new CheckpointError({
      where: `${where}: tokenizer.json`,
      expected: 'a tokenizer that @huggingface/tokenizers can build',
      received: cause instanceof Error ? cause.message : String(cause),
      fix: 'Check that the file is complete and not a Git LFS pointer',
      cause,
    });
  }
}

/** A JSON object from a file; undefined when the file is absent. */
function parseFile(files: ReadonlyMap<string, Uint8Array>, name: string, where: string): Json | undefined {
  const bytes = files.get(name);
  if (bytes === undefined) return undefined;
  const bad = (received: string, cause?: unknown): CheckpointError =>
    new CheckpointError({
      where: `${where}/${name}`,
      expected: 'a JSON object',
      received,
      fix: 'Download or save the file again',
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw bad(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw bad(typeof json);
  return json as Json;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

/** Added tokens of `tokenizer.json` and those that only `added_tokens_decoder` of the configuration knows. */
function mergeAddedTokens(definition: Json, config: Json): AddedToken[] {
  const listed = (Array.isArray(definition.added_tokens) ? definition.added_tokens : []) as AddedToken[];
  const known = new Set(listed.map((token) => token.id));
  const merged = [...listed];
  for (const [key, token] of Object.entries((config.added_tokens_decoder ?? {}) as Json)) {
    const id = Number(key);
    if (!known.has(id)) merged.push({ ...(token as Omit<AddedToken, 'id'>), id });
  }
  return merged;
}

/** Special tokens are written as a string or as an object with `content`. */
function tokenContent(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (
    typeof value === 'object' &&
    value !== null &&
    'content' in value &&
    typeof value.content === 'string'
  ) {
    return value.content;
  }
  return undefined;
}

/** Steps of a normalizer or pre-tokenizer, with sequences laid flat. */
function stepsOf(component: unknown): Json[] {
  if (typeof component !== 'object' || component === null) return [];
  const step = component as Json;
  const children = step.normalizers ?? step.pretokenizers;
  return step.type === 'Sequence' && Array.isArray(children) ? children.flatMap(stepsOf) : [step];
}

const addsDummySpace = (step: Json): boolean =>
  step.type === 'Prepend' ||
  (step.type === 'Metaspace' &&
    (step.prepend_scheme ?? 'always') !== 'never' &&
    step.add_prefix_space !== false) ||
  (step.type === 'ByteLevel' && step.add_prefix_space === true);

const startsWithoutDummySpace = (definition: Json): boolean =>
  ![...stepsOf(definition.normalizer), ...stepsOf(definition.pre_tokenizer)].some(addsDummySpace);

/** The same tokenizer that puts nothing in front of a text. */
function withoutDummySpace(definition: Json): Json {
  const normalizers = stepsOf(definition.normalizer).filter((step) => step.type !== 'Prepend');
  const pretokenizers = stepsOf(definition.pre_tokenizer).map((step) =>
    addsDummySpace(step) ? { ...step, add_prefix_space: false, prepend_scheme: 'never' } : step,
  );
  return {
    ...definition,
    normalizer: normalizers.length === 0 ? null : { type: 'Sequence', normalizers },
    pre_tokenizer: pretokenizers.length === 0 ? null : { type: 'Sequence', pretokenizers },
  };
}

function readChatTemplates(
  files: ReadonlyMap<string, Uint8Array>,
  config: Json,
  where: string,
): ReadonlyMap<string, string> {
  const templates = new Map<string, string>();
  const utf8 = new TextDecoder();
  const add = (given: unknown, from: string): void => {
    if (given === undefined || given === null) return;
    const entries: unknown[] =
      typeof given === 'string' ? [{ name: 'default', template: given }] : [given].flat();
    for (const entry of entries) {
      const { name, template } = (entry ?? {}) as { name?: unknown; template?: unknown };
      if (typeof name !== 'string' || typeof template !== 'string') {
        throw new CheckpointError({
          where: `${where}/${from}: chat_template`,
          expected: 'a string, or a list of {name, template}',
          received: JSON.stringify(entry) ?? 'undefined',
        });
      }
      templates.set(name, template);
    }
  };
  // From the weakest source to the strongest: a later one replaces a template of the same name.
  add(parseFile(files, 'chat_template.json', where)?.chat_template, 'chat_template.json');
  add(config.chat_template, 'tokenizer_config.json');
  const prefix = `${additionalTemplatesFolder}/`;
  for (const [name, bytes] of files) {
    if (name.startsWith(prefix) && name.endsWith('.jinja')) {
      templates.set(name.slice(prefix.length, -'.jinja'.length), utf8.decode(bytes));
    }
  }
  const file = files.get('chat_template.jinja');
  if (file !== undefined) templates.set('default', utf8.decode(file));
  return templates;
}
