/** @import { Style } from '../types.js' */

/**
 * What the lines do: create a task and wait for its film, or read one that exists and save its film.
 * @typedef {{ serviceUrl: string, hasKey: boolean, dream: string, style: Style, taskId?: string }} Work
 *   serviceUrl: with a slash at its end; hasKey: whether the lines send the API key in the environment variable `DREAMREEL_KEY`
 */

export const languages = /** @type {const} */ (['curl', 'JavaScript', 'Python', 'Swift'])

/**
 * Lines of code to paste. They need nothing but the language itself: Node 18 or a browser, Python 3.8, Swift 5.7.
 * @param {typeof languages[number]} language
 * @param {Work} work
 * @returns {string}
 */
export function codeLines (language, work) {
  return { curl, JavaScript: javascript, Python: python, Swift: swift }[language](work).join('\n')
}

/** @param {Work} work */
function curl ({ serviceUrl, hasKey, dream, style, taskId }) {
  const key = hasKey ? ['  -H "Authorization: Bearer $DREAMREEL_KEY"'] : []
  if (taskId !== undefined) {
    return [...continued([`curl -H 'Prefer: wait=60' ${shell(`${serviceUrl}video-status/${taskId}`)}`, ...key]), '', '# save the film that video_url names', 'curl -OJ "$VIDEO_URL?download=1"']
  }
  return [
    ...continued([
      `curl -X POST -G ${shell(`${serviceUrl}generate-video`)}`,
      `  --data-urlencode ${shell(`dream=${dream}`)}`,
      `  --data-urlencode ${shell(`style=${style}`)}`,
      ...key
    ]),
    '',
    '# then, with the task_id of the answer',
    ...continued([`curl -H 'Prefer: wait=60' "${serviceUrl}video-status/$TASK_ID"`, ...key])
  ]
}

/** @param {string[]} lines of one command */
function continued (lines) {
  return lines.map((line, index) => index < lines.length - 1 ? `${line} \\` : line)
}

/** @param {Work} work */
function javascript ({ serviceUrl, hasKey, dream, style, taskId }) {
  const waiting = [
    'while (task.status !== "completed" && task.status !== "failed") {',
    '  const response = await fetch(service + "video-status/" + task.task_id, { headers: { ...headers, prefer: "wait=60" } });',
    '  if (!response.ok) throw new Error((await response.json()).detail);',
    '  task = await response.json();',
    '}',
    'console.log(task.video_url ?? task.error);'
  ]
  const start = [`const service = ${JSON.stringify(serviceUrl)};`, `const headers = ${hasKey ? '{ authorization: "Bearer " + process.env.DREAMREEL_KEY }' : '{}'};`, '']
  if (taskId !== undefined) return [...start, `let task = { task_id: ${JSON.stringify(taskId)} };`, ...waiting]
  return [
    ...start,
    `const query = new URLSearchParams({ dream: ${JSON.stringify(dream)}, style: ${JSON.stringify(style)} });`,
    'const created = await fetch(service + "generate-video?" + query, { method: "POST", headers });',
    'if (!created.ok) throw new Error((await created.json()).detail);',
    '',
    'let task = await created.json();',
    ...waiting
  ]
}

/** @param {Work} work */
function python ({ serviceUrl, hasKey, dream, style, taskId }) {
  const start = [
    'import json, os, urllib.parse, urllib.request',
    '',
    `service = ${JSON.stringify(serviceUrl)}`,
    `headers = ${hasKey ? '{"Authorization": "Bearer " + os.environ["DREAMREEL_KEY"]}' : '{}'}`,
    '',
    'def call(method, path, **more):',
    '    request = urllib.request.Request(service + path, method=method, headers={**headers, **more})',
    '    return json.load(urllib.request.urlopen(request, timeout=90))',
    ''
  ]
  const waiting = [
    'while task.get("status") not in ("completed", "failed"):',
    '    task = call("GET", "video-status/" + task["task_id"], Prefer="wait=60")',
    'print(task["video_url"] or task["error"])'
  ]
  if (taskId !== undefined) return [...start, `task = {"task_id": ${JSON.stringify(taskId)}}`, ...waiting]
  return [
    ...start,
    `query = urllib.parse.urlencode({"dream": ${JSON.stringify(dream)}, "style": ${JSON.stringify(style)}})`,
    'task = call("POST", "generate-video?" + query)',
    ...waiting
  ]
}

/** @param {Work} work */
function swift ({ serviceUrl, hasKey, dream, style, taskId }) {
  const start = [
    'import Foundation',
    '',
    'struct Video: Decodable { let task_id: String, status: String; let video_url: URL?, error: String? }',
    '',
    'func call(_ method: String, _ path: String, _ query: [URLQueryItem] = [], prefer: String? = nil) async throws -> Video {',
    `    var address = URLComponents(string: ${swiftText(serviceUrl)} + path)!`,
    '    address.queryItems = query.isEmpty ? nil : query',
    '    address.percentEncodedQuery = address.percentEncodedQuery?.replacingOccurrences(of: "+", with: "%2B")',
    '    var request = URLRequest(url: address.url!, timeoutInterval: 90)',
    '    request.httpMethod = method',
    '    request.setValue(prefer, forHTTPHeaderField: "Prefer")',
    ...hasKey ? ['    request.setValue("Bearer " + ProcessInfo.processInfo.environment["DREAMREEL_KEY"]!, forHTTPHeaderField: "Authorization")'] : [],
    '    return try await JSONDecoder().decode(Video.self, from: URLSession.shared.data(for: request).0)',
    '}',
    ''
  ]
  const create = `call("POST", "generate-video", [.init(name: "dream", value: ${swiftText(dream)}), .init(name: "style", value: ${swiftText(style)})])`
  return [
    ...start,
    `var video = try await ${taskId === undefined ? create : `call("GET", ${swiftText(`video-status/${taskId}`)})`}`,
    'while video.status != "completed" && video.status != "failed" {',
    '    video = try await call("GET", "video-status/" + video.task_id, prefer: "wait=60")',
    '}',
    'print(video.video_url?.absoluteString ?? video.error ?? "")'
  ]
}

/** As one word of a POSIX shell. @param {string} text */
function shell (text) {
  return /^[\w:/.,=@-]+$/.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`
}

/** As a string literal of Swift, which knows no escapes of JSON but the simple ones. @param {string} text */
function swiftText (text) {
  return `"${text.replace(/["\\]/g, '\\$&').replace(/[\p{Cc}\u2028\u2029]/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)}"`
}
