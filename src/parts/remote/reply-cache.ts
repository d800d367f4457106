/** Replies of a server kept on disk by the hash of what was asked. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { contentHash } from '../../data/index.ts';

export interface ReplyCache {
  /** The kept reply to a request, or that of `ask`, which is then kept. Equal requests at a time are asked once. */
  get(request: unknown, ask: () => Promise<string>): Promise<string>;
}

/**
 * A cache in memory, and in a folder where one is given: a file per reply, named by the SHA-256 of the request, written
 * whole or not at all. Failures are not kept.
 */
export function replyCache(folder?: string): ReplyCache {
  const replies = new Map<string, Promise<string>>();
  const fileOf = (hash: string): string | undefined =>
    folder === undefined ? undefined : join(folder, `${hash.slice(0, 40)}.json`);
  const read = (file: string): string | undefined => {
    try {
      const { reply } = JSON.parse(readFileSync(file, 'utf8')) as { reply?: unknown };
      return typeof reply === 'string' ? reply : undefined;
    } catch {
      // A damaged entry is as good as none: it is asked for and written again.
      return undefined;
    }
  };
  const write = (file: string, reply: string): void => {
    mkdirSync(folder!, { recursive: true });
    const temporary = `${file}.${process.pid}.partial`;
    writeFileSync(temporary, JSON.stringify({ reply }));
    renameSync(temporary, file);
  };
  return {
    get(request, ask) {
      const hash = contentHash(request);
      const known = replies.get(hash);
      if (known !== undefined) return known;
      const file = fileOf(hash);
      const kept = file !== undefined && existsSync(file) ? read(file) : undefined;
      const reply =
        kept === undefined
          ? ask().then((text) => {
              if (file !== undefined) write(file, text);
              return text;
            })
          : Promise.resolve(kept);
      replies.set(hash, reply);
      reply.catch(() => replies.delete(hash));
      return reply;
    },
  };
}
