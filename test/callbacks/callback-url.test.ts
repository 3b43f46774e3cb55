import t from 'tap'
import { parseCallbackUrl } from '../../services/callbacks/callback-url.ts'
import { isPublicAddress } from '../../services/net/ip-address.ts'

const strict = { canSign: true, allowPrivate: false }
const lenient = { canSign: true, allowPrivate: true }

function faultOf (text: string, rules = strict): string | undefined {
  const read = parseCallbackUrl(text, rules)
  return read.ok ? undefined : read.fault.type
}

t.test('an https address at port 443 of a public host is accepted and normalised', async (t) => {
  const taken = {
    'https://app.example.com/dreams': 'https://app.example.com/dreams',
    'https://app.example.com:443': 'https://app.example.com/',
    'HTTPS://App.Example.COM/a?b=c#d': 'https://app.example.com/a?b=c',
    'https://bücher.example/träume': 'https://xn--bcher-kva.example/tr%C3%A4ume',
    'https://8.8.8.8/': 'https://8.8.8.8/',
    'https://[2606:4700::1111]/': 'https://[2606:4700::1111]/'
  }
  for (const [text, url] of Object.entries(taken)) t.same(parseCallbackUrl(text, strict), { ok: true, url })
})

t.test('any other address is refused with a reason', async (t) => {
  for (const text of ['', 'nonsense', '/dreams', 'http://app.example.com/', 'ftp://app.example.com/', 'javascript:alert(1)', 'file:///etc/passwd', 'https://', 'gopher://x']) {
    t.equal(faultOf(text), 'format', text)
  }
  for (const text of ['https://app.example.com:80/', 'https://app.example.com:8443/', 'https://app.example.com:22/']) t.equal(faultOf(text), 'port', text)
  for (const text of ['https://user@app.example.com/', 'https://user:word@app.example.com/']) t.equal(faultOf(text), 'credentials', text)
})

t.test('an empty user name and an invalid host are refused, even if private addresses are allowed', async (t) => {
  for (const rules of [strict, lenient]) {
    for (const text of ['https://:@h.example/', 'https://@h.example/', 'https:\\\\:@h.example', 'ht\ntps:/\t/@h.example', ' https:@h.example']) t.equal(faultOf(text, rules), 'credentials', text)
    for (const host of ['.', '..', '.a.test', 'x..test', 'x.test..', 'xn--', 'a.xn--', '-a.test', 'a-.test', 'a!b.test', `${'a'.repeat(64)}.test`, `${'a.'.repeat(127)}test`]) {
      t.equal(faultOf(`https://${host}/`, rules), 'format', host)
    }
    for (const text of ['https://app.example.com./', 'https://a_b.example/', 'https://a--b.example/a@b?c@d#e@f', `https://${'a'.repeat(63)}.example/`]) t.equal(faultOf(text, rules), undefined, text)
  }
})

t.test('an address that is not public is refused in every notation', async (t) => {
  const hosts = [
    '127.0.0.1', '127.1', '2130706433', '0x7f.0.0.1', '0177.0.0.1', '0x7f000001', '１２７.0.0.1', '0', '0.0.0.0', '10.0.0.1', '172.16.0.1', '192.168.1.1',
    '169.254.169.254', '100.100.100.200', '192.0.0.192', '168.63.129.16', '255.255.255.255', '224.0.0.1', '198.18.0.1', '127.0.0.1.',
    '[::1]', '[::]', '[::127.0.0.1]', '[::a9fe:a9fe]', '[::ffff:127.0.0.1]', '[::ffff:a9fe:a9fe]', '[::ffff:0:10.0.0.1]', '[64:ff9b::a9fe:a9fe]',
    '[64:ff9b:1::a00:1]', '[2002:7f00:1::]', '[2001::1]', '[fe80::1]', '[fec0::1]', '[fc00::1]', '[fd00:ec2::254]', '[ff02::1]', '[2001:db8::1]', '[4000::1]',
    'localhost', 'LOCALHOST', 'localhost.', 'a.localhost'
  ]
  for (const host of hosts) t.equal(faultOf(`https://${host}/`), 'not_public', host)
})

t.test('if private addresses are allowed, http and any port are allowed, too', async (t) => {
  for (const text of ['http://127.0.0.1:3000/', 'http://localhost/', 'https://[::1]:8443/', 'https://app.example.com/', 'http://receiver:80/']) {
    t.equal(faultOf(text, lenient), undefined, text)
  }
  for (const text of ['', 'ftp://127.0.0.1/', 'nonsense']) t.equal(faultOf(text, lenient), 'format', text)
  t.equal(faultOf('http://user@127.0.0.1/', lenient), 'credentials')
})

t.test('without a secret to sign with, every address is refused', async (t) => {
  t.equal(faultOf('https://app.example.com/', { ...lenient, canSign: false }), 'unavailable')
})

t.test('a text that is not an address is not public', async (t) => {
  for (const text of ['', 'app.example.com', '1.2.3', '8.8.8.8.8', '8.8.8.8/8']) t.notOk(isPublicAddress(text), text)
  for (const text of ['8.8.8.8', '2606:4700::1111', '::ffff:8.8.8.8']) t.ok(isPublicAddress(text), text)
})
