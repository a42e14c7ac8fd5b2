// repaveRelease(url: ..., version: ..., file: 'repave.yaml', timeout: '2h', options: '', credentials: 'repave-token')
// Releases and follows; a rollout that waits for a person makes the build unstable, all else that is not a release fails.
def call(Map options) {
    def settings = [
        "REPAVE_URL=${options.url}",
        "REPAVE_FILE=${options.file ?: 'repave.yaml'}",
        "REPAVE_VERSION=${options.version ?: env.GIT_COMMIT}",
        "REPAVE_TIMEOUT=${options.timeout ?: '2h'}",
        "REPAVE_OPTIONS=${options.options ?: '--until-gate'}",
    ]
    withEnv(settings) {
        withCredentials([string(credentialsId: options.credentials ?: 'repave-token', variable: 'REPAVE_TOKEN')]) {
            def code = sh(label: 'repave release', returnStatus: true, script: '''
                command -v repave > /dev/null || python3 -m pip install --quiet repave
                rm -f repave.md repave.xml
                exec repave release "$REPAVE_FILE" --version "$REPAVE_VERSION" --timeout "$REPAVE_TIMEOUT" \
                    --summary repave.md --junit repave.xml $REPAVE_OPTIONS
            ''')
            junit(testResults: 'repave.xml', allowEmptyResults: true, skipMarkingBuildUnstable: true)
            archiveArtifacts(artifacts: 'repave.md', allowEmptyArchive: true)
            if (code == 6) {
                unstable('the rollout waits for a person')
            } else if (code != 0) {
                error("repave release ended with ${code}; see repave.md")
            }
        }
    }
}
