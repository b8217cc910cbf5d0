import { assert, describe, it } from "@effect/vitest"
import { isPath, plainWords, shown } from "../../src/layers/google/secrets.ts"

const token = "ya29.a0AfB_byC-0123456789abcdefghijklmnopqrstuvwxyz"

describe("secrets", () => {
  it("plain words of a message are kept", () => {
    const messages = [
      "invalid_grant",
      "Request failed with status code 400",
      "Token has been expired or revoked.",
      "getaddrinfo ENOTFOUND oauth2.googleapis.com",
      "Permission 'iam.serviceAccounts.getAccessToken' denied (or the account does not exist)."
    ]
    assert.deepStrictEqual(messages.map(plainWords), messages)
  })

  it("a message ends where it is not plain any more", () => {
    assert.strictEqual(plainWords(`the token ${token} is wrong`), "the token …")
    assert.strictEqual(plainWords("open '{\"type\":\"service_account\"} x'"), "open …")
    assert.strictEqual(plainWords("key -----BEGIN PRIVATE KEY-----\nMIIEvQ"), "key …")
    assert.strictEqual(plainWords(`Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln`), "Bearer …")
    assert.strictEqual(plainWords("code 4815162342"), "code …")
    for (const message of [token, "", "{}", "\"x\"", "1//0gAbCdEf"]) assert.isUndefined(plainWords(message), message)
  })

  it("a path is told from a key, and a setting that may be a secret is only measured", () => {
    for (const path of ["/run/secrets/key.json", "key.json", "C:\\keys\\key.json", "./keys/key", "../a b/key.json"]) {
      assert.isTrue(isPath(path), path)
    }
    for (const text of [token, "{}", "-----BEGIN PRIVATE KEY-----", `${"A".repeat(30)}/${"b".repeat(40)}`, "secret"]) {
      assert.isFalse(isPath(text), text)
    }
    assert.deepStrictEqual([shown("localhost"), shown(token), shown("user:x@h:1")], [
      "\"localhost\"",
      "51 characters",
      "10 characters"
    ])
  })
})
