export const LEVELS: readonly (readonly string[])[];
export function checkImports(
  files: Readonly<Record<string, string>>,
  packages: ReadonlySet<string>,
): string[];
export function importedBy(text: string): { readonly specifier: string; readonly typeOnly: boolean }[];
