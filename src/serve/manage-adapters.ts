/** Adapters that clients load into a running server and take out again, by vLLM's names. */
import { realpath } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { z } from 'zod';
import { CheckpointError } from '../core/errors.ts';
import { invalid } from './errors.ts';
import type { ServedModel } from './served-model.ts';

export interface AdapterSource {
  /** Only adapters inside this folder are loaded: a client must not read what else is on the machine. */
  readonly folder: string;
  /** Makes a model of an adapter folder. */
  readonly open: (name: string, folder: string) => Promise<ServedModel>;
}

export const loadSchema = z.looseObject({
  lora_name: z.string().regex(/^[\w.:/-]{1,128}$/, 'expected 1 to 128 letters, digits and . : / - _'),
  lora_path: z.string().min(1),
});
export const unloadSchema = z.looseObject({ lora_name: z.string() });

/** Adapters loaded by clients at a time: each has a cache of its own. */
const mostLoaded = 16;

export interface AdapterManager {
  /** @throws ApiError 400 for a name that is taken, a folder that is none, or too many */
  load(body: z.output<typeof loadSchema>): Promise<ServedModel>;
  /** Takes an adapter out: new requests do not find it, and its memory is freed when those under way have ended. */
  unload(body: z.output<typeof unloadSchema>): ServedModel;
}

/**
 * @param models of the server by name, which change
 * @param free frees a model that is no longer in `models` when nothing asks it any more
 */
export function createAdapterManager(
  models: Map<string, ServedModel>,
  { folder, open }: AdapterSource,
  free: (model: ServedModel) => void,
): AdapterManager {
  /** Names of what clients loaded, and of what is being loaded. */
  const loaded = new Set<string>();
  return {
    async load({ lora_name: name, lora_path: path }) {
      if (models.has(name) || loaded.has(name))
        throw invalid('lora_name', `There is a model "${name}" already. Unload it, or take another name.`);
      if (loaded.size >= mostLoaded)
        throw invalid('lora_name', `${mostLoaded} adapters are loaded, which is the most. Unload one.`);
      loaded.add(name);
      try {
        const model = await open(name, await inside(folder, path));
        models.set(name, model);
        return model;
      } catch (error) {
        loaded.delete(name);
        if (error instanceof CheckpointError) throw invalid('lora_path', error.message);
        throw error;
      }
    },
    unload({ lora_name: name }) {
      const model = models.get(name);
      if (model === undefined || !loaded.has(name))
        throw invalid('lora_name', `No adapter "${name}" was loaded into the running server.`);
      loaded.delete(name);
      models.delete(name);
      free(model);
      return model;
    },
  };
}

/** The real place of a path in a folder. What lies outside is told from what is not there by nobody. */
async function inside(folder: string, path: string): Promise<string> {
  const root = await realpath(folder);
  const place = await realpath(resolve(root, path)).catch(() => undefined);
  if (place?.startsWith(root + sep)) return place;
  throw invalid('lora_path', 'There is no such folder among the adapters that this server may load.');
}
