# Configures and builds this folder; says what went wrong instead of failing.
execute_process(
  COMMAND
    ${CMAKE_COMMAND} -S ${SOURCE} -B ${BUILD} -G ${GENERATOR} -DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}
    -DCMAKE_CXX_COMPILER=${CXX} -DOPENSSL_ROOT_DIR=${OPENSSL} -DMP_SPDZ=${MP_SPDZ} -DRING=${RING}
    -DCMAKE_RUNTIME_OUTPUT_DIRECTORY=${OUTPUT}
  OUTPUT_VARIABLE LOG ERROR_VARIABLE LOG RESULT_VARIABLE FAILED)
if(NOT FAILED)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} OUTPUT_VARIABLE LOG ERROR_VARIABLE LOG
                  RESULT_VARIABLE FAILED)
endif()
if(FAILED)
  file(GLOB STALE ${OUTPUT}/secfwt-*-party.x)
  file(REMOVE ${STALE})
  file(WRITE ${BUILD}/log.txt "${LOG}")
  string(REGEX MATCH "[^\n]*([Ee]rror|undefined)[ :][^\n]*" REASON "${LOG}")
  message("MP-SPDZ parties: not built, the installation at ${MP_SPDZ} cannot be used (the rest is not affected):\n"
          "${REASON}\nMore in ${BUILD}/log.txt")
endif()
