/** The files of a model besides its weights and config.json: what a copy of the model needs too. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { RawConfig } from './checkpoint.ts';
import { readGguf } from './gguf.ts';

/** Texts and settings; weights, indices and the state of a run stay behind. */
const COMPANIONS = /^(?:[^.].*\.(?:json|jinja|md|txt|model)|LICENSE.*|NOTICE.*)$/i;
const NOT = /^(?:config\.json|adapter_config\.json|trainer_state\.json|.*\.index\.json)$/;
/** Nothing of this kind is larger. */
const LARGEST = 1 << 27;

/**
 * Files beside the weights, by name: of a folder its own (generation config, license, card, templates …); of any other source
 * the `generation_config.json` that follows from its special tokens, where it has none.
 */
export function companionFiles(path: string, config: RawConfig): Record<string, Uint8Array> {
  const files: Record<string, Uint8Array> = {};
  if (statSync(path).isDirectory()) {
    for (const name of readdirSync(path).sort()) {
      const stats = statSync(join(path, name));
      if (!COMPANIONS.test(name) || NOT.test(name) || !stats.isFile() || stats.size > LARGEST) continue;
      files[name] = readFileSync(join(path, name));
    }
  }
  files['generation_config.json'] ??= new TextEncoder().encode(
    `${JSON.stringify(generationConfig(path, config), null, 2)}\n`,
  );
  return files;
}

function generationConfig(path: string, config: RawConfig): Record<string, unknown> {
  const { bos_token_id, eos_token_id, pad_token_id } = config;
  // A chat model ends a turn with a token of its own.
  const turn = path.endsWith('.gguf')
    ? readGguf(path).metadata.get('tokenizer.ggml.eot_token_id')
    : undefined;
  const ends =
    typeof turn === 'number' && turn !== eos_token_id
      ? [eos_token_id, turn].filter((id) => id !== undefined)
      : eos_token_id;
  return Object.fromEntries(
    Object.entries({ bos_token_id, eos_token_id: ends, pad_token_id }).filter(
      ([, id]) => id !== undefined && id !== null,
    ),
  );
}

/** The license that a source names, as the hub writes it; undefined where it names none. */
export function licenseOf(path: string): string | undefined {
  if (path.endsWith('.gguf') && existsSync(path)) {
    const license = readGguf(path).metadata.get('general.license');
    if (typeof license === 'string' && license !== '') return license;
  }
  return undefined;
}
