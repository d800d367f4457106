export function checkLinks(
  pages: Readonly<Record<string, string>>,
  exists: (path: string) => boolean,
): string[];
