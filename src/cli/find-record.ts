/** The one of some records that a user named. */
import { ConfigError } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';

/** @throws ConfigError that names `where` and the nearest id when there is none of that id */
export function findRecord<T extends { readonly id: string }>(
  records: readonly T[],
  id: string,
  { where, what }: { readonly where: string; readonly what: string },
): T {
  const found = records.find((record) => record.id === id);
  if (found !== undefined) return found;
  const near = suggest(
    id,
    records.map((record) => record.id),
  );
  throw new ConfigError({
    where,
    expected: `an id of the ${what}s that heed ${where} lists`,
    received: JSON.stringify(id),
    fix: near === undefined ? `Run heed ${where}` : `Did you mean ${near}?`,
  });
}
